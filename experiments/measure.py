"""Measure one defence on the test set, or read what was measured of the same weights before."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import Progress

from keras_aaa.evaluation import PgdTest, correct, survive_pgd
from keras_aaa.results import Accuracy, write_json
from keras_aaa.threat_model import ThreatModel


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
    standing = correct(defence, images, labels)
    accuracies = [_row("clean", None, None, standing)]
    with Progress() as bar:
        task = bar.add_task(title, total=len(labels) * test.steps[-1])
        survived = survive_pgd(
            defence,
            images,
            labels,
            threat=threat,
            test=test,
            precision=precision,
            on_batch=lambda done: bar.advance(task, done),
        )
        bar.update(task, completed=len(labels) * test.steps[-1])
    # Wrong without an attack is wrong under it.
    accuracies += [_row("pgd", n, test.step_size, m & standing) for n, m in survived.items()]
    measured = {"key": key, "accuracies": accuracies, "seconds": time.monotonic() - began}
    write_json(path, measured)
    return measured


def _row(attack: str, steps: int | None, step_size: float | None, mask: np.ndarray) -> dict:
    accuracy = Accuracy(int(np.sum(mask)), len(mask))
    return {"attack": attack, "steps": steps, "step_size": step_size} | accuracy.to_json()


def fingerprint(model: keras.Model) -> str:
    """Return the sha256 of a model's weights, in order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
