"""Where a run computes: the tf.distribute strategy, each worker's part of the work, their sums."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from keras_aaa.checks import lookup

STRATEGIES = ("auto", "default", "mirrored", "multiworker", "tpu")
START_SECONDS = 300.0  # how long workers wait for each other at the start
RESTART = 75  # exit code "run me again" (EX_TEMPFAIL): preempted, or a worker was lost


def choose_strategy(
    name: str, tpu: str | None = None, start_seconds: float = START_SECONDS
) -> tf.distribute.Strategy:
    """Return the strategy of that name; "multiworker" must come before any TensorFlow operation.

    "default" is one device; "mirrored" all visible GPUs, or all logical CPU devices;
    "multiworker" the machines of TF_CONFIG or of a SLURM step; "tpu" the TPU named `tpu`, or the
    local one. "auto" is multiworker in such a cluster, else tpu if one is named, else mirrored if
    there is more than one GPU, else default.

    Args:
        name: one of STRATEGIES.
        tpu: name or address of a TPU, "local" for one of this machine.
        start_seconds: how long the workers wait for each other; then the process is killed.

    Raises:
        ValueError: for another name, or a cluster or TPU that is not described.
    """
    makers = {
        "default": tf.distribute.get_strategy,
        "mirrored": _mirrored,
        "multiworker": lambda: _multiworker(start_seconds),
        "tpu": lambda: _tpu(tpu),
    }
    return lookup("strategy", _automatic(tpu) if name == "auto" else name, makers)()


def _automatic(tpu: str | None) -> str:
    if len(_tf_config_workers()) > 1 or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return "multiworker"
    if tpu:
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "default"


def _mirrored() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _tpu(name: str | None) -> tf.distribute.Strategy:
    if not name:
        raise ValueError("--tpu: expected the TPU's name, or local for one of this machine.")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=name)
    return tf.distribute.TPUStrategy(resolver)


def _tf_config_workers() -> list[str]:
    """The addresses of TF_CONFIG's chief and workers, in order; none without TF_CONFIG."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG: expected a JSON object, got {error}.") from error
    return [address for job in ("chief", "worker") for address in cluster.get(job, [])]


def _multiworker(start_seconds: float) -> tf.distribute.Strategy:
    if _tf_config_workers():
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    elif "SLURM_PROCID" in os.environ:
        resolver = _slurm()
    else:
        raise ValueError(
            "--strategy=multiworker: expected TF_CONFIG in the environment (cluster and task), or "
            "a SLURM step; found neither."
        )
    workers = resolver.cluster_spec().as_dict()
    with _deadline(start_seconds, f"not all of the workers {workers} came up"):
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


class _SlurmOnCpus(tf.distribute.cluster_resolver.SlurmClusterResolver):
    """TensorFlow's resolver divides by the GPUs of a task: told of one each, it must not use it."""

    def __init__(self):
        tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
        super().__init__(gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False)

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        return {}


def _slurm() -> tf.distribute.cluster_resolver.ClusterResolver:
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.cluster_resolver.SlurmClusterResolver()
    return _SlurmOnCpus()


# Run by another process: TensorFlow waits for workers with Python's lock held, so that no thread,
# signal handler or exception of this one would come through.
_WATCH = """
import os, select, signal, sys
seconds, process, message = sys.argv[1:]
if not select.select([sys.stdin], [], [], float(seconds))[0]:
    print(message, file=sys.stderr, flush=True)
    os.kill(int(process), signal.SIGKILL)
"""


@contextmanager
def _deadline(seconds: float, what: str) -> Iterator[None]:
    """Kill this process, with a message, if the block takes longer."""
    message = f"error: {what} within {seconds:.0f} s."
    command = [sys.executable, "-c", _WATCH, str(seconds), str(os.getpid()), message]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as watch:
        yield
        assert watch.stdin is not None
        watch.stdin.close()  # which the watch is waiting for


def worker_index(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Return which worker this process is, from 0, and how many there are.

    A TPU pod and several GPUs of one machine are driven by one process: (0, 1).
    """
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 0, 1
    jobs = resolver.cluster_spec().as_dict()
    tasks = [(job, task) for job in ("chief", "worker") for task in range(len(jobs.get(job, [])))]
    return (tasks.index((resolver.task_type, resolver.task_id)), len(tasks)) if tasks else (0, 1)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes the run's files and speaks for it."""
    return worker_index(strategy)[0] == 0


def worker_slice(strategy: tf.distribute.Strategy, examples: int) -> np.ndarray:
    """Return the indices, int64, of this worker's part of that many examples; together all."""
    index, workers = worker_index(strategy)
    return np.array_split(np.arange(examples), workers)[index]


def sum_over_workers(strategy: tf.distribute.Strategy, values) -> np.ndarray:
    """Return the sum over the workers of each one's `values`, an array of one shape and type.

    Every worker must call it, at the same point.
    """
    _, workers = worker_index(strategy)
    values = np.asarray(values)
    if workers == 1:
        return values
    local_replicas = strategy.num_replicas_in_sync // workers

    @tf.function
    def reduced(own):
        def once():  # one replica of each worker brings the values, the others zeros
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return own * tf.cast(tf.equal(replica % local_replicas, 0), own.dtype)

        return strategy.reduce("SUM", strategy.run(once), axis=None)

    return reduced(tf.constant(values)).numpy()


def distribute(batches: tf.data.Dataset, strategy: tf.distribute.Strategy, batch_size: int):
    """Return an iterable of global batches, each cut into equal parts, one a replica, in order.

    Raises:
        ValueError: if the batch cannot be cut so.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(f"batch_size {batch_size} cannot be divided among {replicas} replicas.")
    if replicas == 1:
        return batches
    index, workers = worker_index(strategy)
    part = batch_size // workers

    def own(*tensors):
        return tuple(tensor[index * part : (index + 1) * part] for tensor in tensors)

    def of_this_worker(context):
        # Sharding by file would give each worker other batches than a single process sees.
        return batches.map(own).rebatch(batch_size // replicas, drop_remainder=True)

    return strategy.distribute_datasets_from_function(of_this_worker)
