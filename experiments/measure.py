"""Measure one defence on the test set, or read what was measured of the same weights before."""

import dataclasses
import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.progress import Progress

from keras_aaa.attacks.pgd import random_start
from keras_aaa.evaluation import PgdTest, correct, survive_pgd
from keras_aaa.models.fingerprint import fingerprint
from keras_aaa.results import Accuracy, write_json
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.distribution import is_chief, share, total


def measure(
    title: str,
    defence: keras.Model,
    images,
    labels,
    *,
    threat: ThreatModel,
    test: PgdTest,
    precision: str,
    cache: Path,
    strategy: tf.distribute.Strategy | None = None,
) -> dict:
    """Return clean and PGD accuracies; crafted in `precision`, scored in float32.

    Args:
        title: shown beside the progress bar; also the name of the cached file.
        defence: images -> logits, float32.
        images, labels: the test examples, [n, h, w, c] in [0, 1] and [n].
        threat: the ball.
        test: the PGD test.
        precision: "float32" or "bfloat16", of crafting.
        cache: folder of earlier measurements, which count only for the same weights and settings.
        strategy: its workers share the examples, and all learn the same counts; None for one.

    Returns:
        {"accuracies": one dict an attack (attack, steps, step_size, accuracy, correct, examples,
        interval95), "seconds": what they took, "key": the weights and settings}.
    """
    path = cache / f"{title}.json"
    key = {
        "weights": fingerprint(defence),
        "threat": dataclasses.asdict(threat),
        "test": dataclasses.asdict(test) | {"steps": list(test.steps)},
        "precision": precision,
        "examples": len(labels),
    }
    if path.exists() and (known := json.loads(path.read_text()))["key"] == key:
        return known
    began = time.monotonic()
    strategy = strategy or tf.distribute.get_strategy()
    own = share(strategy, len(labels))
    # Drawn for all examples, so that each one's is the same however many workers there are.
    start = tf.gather(random_start(images, threat, test.seed), own)
    images, labels = tf.gather(images, own), tf.gather(labels, own)
    standing = correct(defence, images, labels)
    with Progress(disable=not is_chief(strategy)) as bar:
        task = bar.add_task(title, total=len(labels) * test.steps[-1])
        survived = survive_pgd(
            defence,
            images,
            labels,
            threat=threat,
            test=test,
            precision=precision,
            start=start,
            on_batch=lambda done: bar.advance(task, done),
        )
        bar.update(task, completed=len(labels) * test.steps[-1])
    # Wrong without an attack is wrong under it.
    masks = [standing, *(survived[steps] & standing for steps in test.steps)]
    counts = total(strategy, [np.sum(mask) for mask in masks])
    rows = [("clean", None, None), *(("pgd", steps, test.step_size) for steps in test.steps)]
    accuracies = [
        _row(*row, Accuracy(int(count), key["examples"]))
        for row, count in zip(rows, counts, strict=True)
    ]
    measured = {"key": key, "accuracies": accuracies, "seconds": time.monotonic() - began}
    if is_chief(strategy):
        write_json(path, measured)
    return measured


def _row(attack: str, steps: int | None, step_size: float | None, accuracy: Accuracy) -> dict:
    return {"attack": attack, "steps": steps, "step_size": step_size} | accuracy.to_json()
