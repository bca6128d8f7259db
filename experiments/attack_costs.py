"""Measure the memory and the time of each attack on a model with many classes.

    python -m experiments.attack_costs
    python -m experiments.attack_costs --attacks=deepfool --classes=10

The model is keras.applications.MobileNetV2 with random weights. Each attack runs in its own
process, because a process' peak memory never falls. It runs twice with few steps; the second run is
timed, after its graph is compiled. The first row is the model alone.
"""

import json
import resource
import subprocess
import sys
import time

import keras
import numpy as np
from absl import app, flags

from experiments.command import friendly, print_tables
from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._engine.preamble import norms_of
from keras_aaa.checks import lookup
from keras_aaa.evaluation.score import logits_in_batches
from keras_aaa.threat_model import ThreatModel

FLAGS = flags.FLAGS
# Few steps of each attack; "model" stands for the model alone.
SETTINGS: dict[str, dict] = {
    "model": {},
    "apgd": {"steps": 2},
    "carlini_wagner": {"steps": 3, "searches": 1},
    "deepfool": {"steps": 1},
    "fab": {"steps": 3},
    "fgsm": {},
    "hop_skip_jump": {"iterations": 1, "first_evaluations": 4},
    "pgd": {"steps": 3, "step_size": 0.01},
    "random_noise": {},
    "spsa": {"steps": 1, "samples": 2},
    "square": {"queries": 5},
    "transfer_pgd": {"steps": 3, "step_size": 0.01},
}
flags.DEFINE_list("attacks", list(SETTINGS), "Attacks to measure, or model.")
flags.DEFINE_integer("batch", 8, "Number of images.", 1)
flags.DEFINE_integer("classes", 1000, "Number of classes.", 2)
flags.DEFINE_integer("size", 224, "Height and width of the images.", 32)
flags.DEFINE_bool("in_process", False, "Measure one attack in this process; prints JSON.")


def main(argv):
    for name in FLAGS.attacks:
        lookup("attack", name, SETTINGS)
    if FLAGS.in_process:
        print(json.dumps(_measured(FLAGS.attacks[0])))
        return
    rows = []
    for name in FLAGS.attacks:
        options = [f"--{flag}={FLAGS[flag].value}" for flag in ("batch", "classes", "size")]
        command = [sys.executable, "-m", "experiments.attack_costs", "--in_process"]
        done = subprocess.run(
            [*command, f"--attacks={name}", *options], capture_output=True, text=True
        )
        if done.returncode:
            raise ValueError(f"{name}: {' '.join(done.stderr.split())[-300:]}")
        measured = json.loads(done.stdout.splitlines()[-1])
        settings = " ".join(f"{key}={value}" for key, value in SETTINGS[name].items())
        rows.append([name, settings, f"{measured['peak_gb']:.2f}", f"{measured['seconds']:.1f}"])
        print(*rows[-1], flush=True)
    title = (
        f"{FLAGS.batch} images {FLAGS.size} x {FLAGS.size}, {FLAGS.classes:,} classes, MobileNetV2"
    )
    print_tables([(title, ["", "settings", "peak memory, GB", "seconds"], rows)])


def _measured(name: str) -> dict[str, float]:
    """Return the peak memory of this process in GB, and the seconds of the second run."""
    keras.utils.set_random_seed(0)
    shape = (FLAGS.size, FLAGS.size, 3)
    model = keras.applications.MobileNetV2(
        shape, weights=None, classes=FLAGS.classes, classifier_activation=None
    )
    images = np.random.default_rng(0).random((FLAGS.batch, *shape), np.float32)
    labels = logits_in_batches(model, images).argmax(axis=1)
    other = (labels + 1) % FLAGS.classes
    arguments = dict(SETTINGS[name])
    if name == "fab":
        arguments["targets"] = other
    if name == "hop_skip_jump":  # otherwise most of its time is the search for a start
        labels = other

    def run():
        if name == "model":
            return logits_in_batches(model, images)
        threat = ThreatModel(norms_of(ATTACKS[name])[0], 0.1)
        return np.asarray(ATTACKS[name](model, images, labels, threat=threat, **arguments))

    run()
    began = time.monotonic()
    run()
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    return {"peak_gb": peak, "seconds": seconds}


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
