"""One worker of a loopback cluster: trains a small defence and writes its weights and figures.

python worker.py STRATEGY WORKDIR OUT [--replicas=N] ...; the cluster is in TF_CONFIG.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy

parser = argparse.ArgumentParser()
parser.add_argument("strategy")
parser.add_argument("workdir", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--replicas", type=int, default=1, help="logical CPU devices, as if GPUs")
parser.add_argument("--examples", type=int, default=480)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--eps", type=float, default=1e-4)
parser.add_argument("--die_saving", action="store_true", help="the chief dies once, saving")
parser.add_argument("--start_seconds", type=float, default=120)
parser.add_argument("--checkpoint_seconds", type=float, default=100)
arguments = parser.parse_args()

if arguments.replicas > 1:
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * arguments.replicas
    tf.config.set_logical_device_configuration(cpu, logical)

    # MultiWorkerMirroredStrategy takes all GPUs of a machine, but only one CPU.
    def several(self, resolver, worker):
        return tuple(f"{worker}/device:CPU:{i}" for i in range(arguments.replicas)), "CPU"

    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    extended._initialize_local_devices = several

from keras_aaa import data  # noqa: E402
from keras_aaa.models import build  # noqa: E402
from keras_aaa.threat_model import threat_for  # noqa: E402
from keras_aaa.training import LOSSES, AutoencoderTask, Recipe, train  # noqa: E402
from keras_aaa.training.checkpoint import Preempted  # noqa: E402
from keras_aaa.training.distribution import RESTART, choose_strategy, worker_index  # noqa: E402

RECIPE = Recipe(
    epochs=arguments.epochs,
    batch_size=24,
    train_examples=arguments.examples,
    attack_steps=2,
    attack_step_size=0.1,
    schedule="constant",
    validation_examples=601,  # three batches, the last one ragged
    validation_steps=1,
)


def die_saving():
    """Kill this process as soon as a checkpoint lies there half written, but not the first one.

    Only the chief, who writes them, and only once in the life of the workdir.
    """
    folder = arguments.workdir / "checkpoints"
    while True:
        names = os.listdir(folder) if folder.exists() else []
        if any("temp" in name for name in names) and any("index" in name for name in names):
            os.kill(os.getpid(), signal.SIGKILL)


died = arguments.workdir / "died"
chief = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0) == 0
if arguments.die_saving and chief and not died.exists():
    died.parent.mkdir(parents=True, exist_ok=True)
    died.touch()
    threading.Thread(target=die_saving, daemon=True).start()

strategy = choose_strategy(arguments.strategy, start_seconds=arguments.start_seconds)
with strategy.scope():
    keras.utils.set_random_seed(0)
    autoencoder = build("conv_dense_autoencoder", latent=8, width=2)
    classifier = build("madry", width=4, dense=16)
    # The attack follows signs of gradients, where rounding can flip a pixel: a small ball keeps
    # such a flip below what is compared.
    threat = dataclasses.replace(threat_for("mnist"), eps=arguments.eps)
    task = AutoencoderTask(autoencoder, (classifier,), LOSSES["ce_mse"], threat)
try:
    progress = train(
        task,
        RECIPE,
        train_data=data.load("mnist", "train"),
        validation_data=data.first(data.load("mnist", "validation"), RECIPE.validation_examples),
        workdir=arguments.workdir,
        strategy=strategy,
        checkpoint_seconds=arguments.checkpoint_seconds,
    )
except Preempted as preempted:
    print(preempted)
    sys.exit(RESTART)
index, workers = worker_index(strategy)
found = {
    "step": progress.step,
    "replicas": strategy.num_replicas_in_sync,
    "workers": workers,
    "history": progress.history,
}
arguments.out.mkdir(parents=True, exist_ok=True)
(arguments.out / f"worker{index}.json").write_text(json.dumps(found))
np.savez(arguments.out / f"worker{index}.npz", *autoencoder.get_weights())
