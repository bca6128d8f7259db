"""Measure one defence on the test set, or read the cached results of the same weights."""

import dataclasses
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.progress import Progress

from keras_aaa.attacks._pgd import random_start
from keras_aaa.evaluation import PgdTest, survive_pgd
from keras_aaa.hashing import examples_hash, weights_hash
from keras_aaa.results import Measurement, cached
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.distribution import is_chief, sum_over_workers, worker_slice


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
    long_examples: int = 0,
) -> dict:
    """Return clean and PGD accuracies; crafted in `precision`, scored in float32.

    Args:
        title: shown beside the progress bar; also the name of the cached file.
        defence: images -> logits, float32.
        images, labels: the test examples, [n, h, w, c] in [0, 1] and [n].
        threat: the threat model.
        test: the PGD test.
        precision: of crafting, "float32" or "bfloat16".
        cache: folder of cached measurements, which are valid only for the same weights, examples
            and settings.
        strategy: its workers share the examples, and all get the same counts; None for one worker.
        long_examples: number of examples, the first ones, for every number of steps but the first;
            0 for all.

    Returns:
        {"accuracies": a Measurement's row for each attack, "seconds": duration}.
    """
    key = {
        "weights": weights_hash(defence),
        "threat": dataclasses.asdict(threat),
        "test": dataclasses.asdict(test) | {"steps": list(test.steps)},
        "precision": precision,
        "examples": len(labels),
        "content": examples_hash(images, labels),
        "long_examples": long_examples,
    }
    strategy = strategy or tf.distribute.get_strategy()
    chief = is_chief(strategy)

    def count() -> dict:
        began = time.monotonic()
        counted = _counted(
            title, defence, images, labels, threat, test, precision, strategy, long_examples
        )
        rows = [
            Measurement(*counted[None]),
            *(Measurement(*counted[s], "pgd", s, test.step_size) for s in test.steps),
        ]
        return {
            "accuracies": [row.to_row() for row in rows],
            "seconds": time.monotonic() - began,
        }

    return cached(cache, key, count, name=title, write=chief)


def _counted(
    title, defence, images, labels, threat, test, precision, strategy, long_examples
) -> dict[int | None, tuple[int, int]]:
    """Return steps (None for clean) -> (number correct, number of examples)."""
    # Drawn for all examples, so that an example's start does not depend on the number of workers.
    start = random_start(images, threat, test.seed)
    counted: dict[int | None, tuple[int, int]] = {}
    with Progress(disable=not is_chief(strategy)) as bar:
        for steps, count in parts(test.steps, long_examples, len(labels)):
            indices = worker_slice(strategy, count)
            x, y, begin = (tf.gather(tensor, indices) for tensor in (images, labels, start))
            task = bar.add_task(title, total=len(y) * steps[-1])
            masks = survive_pgd(
                defence,
                x,
                y,
                threat=threat,
                test=dataclasses.replace(test, steps=steps),
                precision=precision,
                start=begin,
                on_batch=lambda done, task=task: bar.advance(task, done),
            )
            bar.update(task, completed=len(y) * steps[-1])
            counts = sum_over_workers(strategy, [np.sum(mask) for mask in masks.values()])
            part = {s: (int(n), count) for s, n in zip(masks, counts, strict=True)}
            counted = part | counted  # an earlier count, on more examples, takes precedence
    return counted


def parts(
    steps: tuple[int, ...], long_examples: int, examples: int
) -> list[tuple[tuple[int, ...], int]]:
    """Return the runs that a PGD test consists of: (numbers of steps, number of examples) each.

    Args:
        steps: increasing numbers of steps; the first is measured on all examples.
        long_examples: number of examples for the other numbers of steps; 0 for all.
        examples: number of all examples.
    """
    if not 0 < long_examples < examples or len(steps) == 1:
        return [(steps, examples)]
    return [(steps[:1], examples), (steps, long_examples)]
