"""Distribution: the tf.distribute strategy, each worker's share, and sums over workers."""

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
START_SECONDS = 300.0  # the time that workers wait for each other at the start
RESTART = 75  # exit code that asks for a restart (EX_TEMPFAIL): preempted, or a worker was lost


def choose_strategy(
    name: str, tpu: str | None = None, start_seconds: float = START_SECONDS
) -> tf.distribute.Strategy:
    """Return the strategy called `name`; call it for "multiworker" before any TensorFlow operation.

    - "default": one device.
    - "mirrored": all visible GPUs, or all logical CPU devices without a GPU.
    - "multiworker": the machines of TF_CONFIG or of a SLURM step.
    - "tpu": the TPU named `tpu`, or the local one.
    - "auto": multiworker in a cluster of several machines. Otherwise tpu if one is named, mirrored
      with more than one GPU, or default.

    Args:
        name: one of STRATEGIES.
        tpu: name or address of a TPU, or "local" for a TPU of this machine.
        start_seconds: seconds that workers wait for each other; then the process is killed.

    Raises:
        ValueError: for an unknown name, or for a cluster or TPU that is not described.
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
        raise ValueError("--tpu: expected the TPU's name, or local for this machine's; got none.")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=name)
    return tf.distribute.TPUStrategy(resolver)


def _tf_config_workers() -> list[str]:
    """Return the addresses of TF_CONFIG's chief and workers; empty without TF_CONFIG."""
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
    with _deadline(start_seconds, f"not all of the workers {workers} started"):
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


class _SlurmOnCpus(tf.distribute.cluster_resolver.SlurmClusterResolver):
    """A SLURM resolver for machines without GPUs.

    TensorFlow's resolver divides by the GPUs per task. Here it gets one GPU per task, and reports
    no accelerators.
    """

    def __init__(self):
        tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
        super().__init__(gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False)

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        return {}


def _slurm() -> tf.distribute.cluster_resolver.ClusterResolver:
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.cluster_resolver.SlurmClusterResolver()
    return _SlurmOnCpus()


# Another process runs this. TensorFlow holds Python's lock while it waits for workers. No thread or
# signal handler of this process could run meanwhile, and no exception could reach it.
_WATCH = """
import os, select, signal, sys
seconds, process, message = sys.argv[1:]
if not select.select([sys.stdin], [], [], float(seconds))[0]:
    print(message, file=sys.stderr, flush=True)
    os.kill(int(process), signal.SIGKILL)
"""


@contextmanager
def _deadline(seconds: float, what: str) -> Iterator[None]:
    """Kill this process, with a message, if the block takes longer than `seconds`."""
    message = f"error: {what} within {seconds:.0f} s."
    command = [sys.executable, "-c", _WATCH, str(seconds), str(os.getpid()), message]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as watch:
        yield
        assert watch.stdin is not None
        watch.stdin.close()  # the watch waits for this


def worker_index(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Return the index of this worker, from 0, and the number of workers.

    One process drives a TPU pod or several GPUs of one machine: (0, 1).
    """
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 0, 1
    jobs = resolver.cluster_spec().as_dict()
    tasks = [(job, task) for job in ("chief", "worker") for task in range(len(jobs.get(job, [])))]
    return (tasks.index((resolver.task_type, resolver.task_id)), len(tasks)) if tasks else (0, 1)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes the run's files and reports its progress."""
    return worker_index(strategy)[0] == 0


def worker_slice(strategy: tf.distribute.Strategy, examples: int) -> np.ndarray:
    """Return the indices, int64, of this worker's share; all shares cover the examples once."""
    index, workers = worker_index(strategy)
    return np.array_split(np.arange(examples), workers)[index]


def sum_over_workers(strategy: tf.distribute.Strategy, values) -> np.ndarray:
    """Return the sum of `values` over the workers; each has an array of the same shape and dtype.

    Every worker must call this at the same point.
    """
    _, workers = worker_index(strategy)
    values = np.asarray(values)
    if workers == 1:
        return values
    local_replicas = strategy.num_replicas_in_sync // workers

    @tf.function
    def reduced(own):
        def once():  # one replica per worker adds the values, the others zeros
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return own * tf.cast(tf.equal(replica % local_replicas, 0), own.dtype)

        return strategy.reduce("SUM", strategy.run(once), axis=None)

    return reduced(tf.constant(values)).numpy()


def distribute(batches: tf.data.Dataset, strategy: tf.distribute.Strategy, batch_size: int):
    """Return an iterable of global batches, each split in order into one equal part per replica.

    Raises:
        ValueError: if the batch size is not a multiple of the number of replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"batch_size: expected a multiple of the {replicas} replicas, got {batch_size}."
        )
    if replicas == 1:
        return batches
    index, workers = worker_index(strategy)
    part = batch_size // workers

    def own(*tensors):
        return tuple(tensor[index * part : (index + 1) * part] for tensor in tensors)

    def of_this_worker(context):
        # Sharding by file would give the workers different batches than a single process.
        return batches.map(own).rebatch(batch_size // replicas, drop_remainder=True)

    return strategy.distribute_datasets_from_function(of_this_worker)
