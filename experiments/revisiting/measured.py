"""Measure one cell: a defence's accuracy on images crafted on it or on another; cached."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from experiments.revisiting.study import PARAMETERS, PGD_STEPS, Attack
from keras_aaa.evaluation import attack_all, autoattack, correct, resists
from keras_aaa.hashing import json_hash, weights_hash
from keras_aaa.results import Measurement, cached
from keras_aaa.threat_model import ThreatModel

IMAGES = "images"  # the folder of adversarial images, in that of the results
UNBOUNDED = ThreatModel("l2", 1e3)  # no image in [0, 1] is further from another


def threat_of(attack: Attack) -> ThreatModel:
    """Return the threat model of an attack, in image units."""
    return UNBOUNDED if attack.eps is None else ThreatModel("linf", attack.eps / 255)


def measured(
    attack: Attack,
    target: keras.Model,
    crafted_on: keras.Model,
    images,
    labels,
    folder: Path,
    precision: str = "float32",
) -> dict:
    """Return a Measurement's JSON form and "mean_l2", the mean length of the perturbations.

    An example misclassified clean counts as misclassified under attack.

    Args:
        attack: what is run.
        target: the defence that is scored.
        crafted_on: the model the attack sees; the target itself in a white-box attack.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n].
        folder: the cache of results, and until forget_images of adversarial images; they are valid
            only for the same weights and settings.
        precision: of crafting, "float32" or "bfloat16"; scoring is in float32. Attacks without a
            bound always craft in float32: they end just beyond the decision boundary, and bfloat16
            moves that boundary.
    """
    key = _crafting(attack, crafted_on, len(labels), precision) | {"target": weights_hash(target)}

    def measure():
        x_adv = _adversarial(attack, crafted_on, images, labels, folder, precision)
        survived = _survive(target, images, x_adv, labels)
        moved = np.reshape(np.asarray(x_adv) - np.asarray(images), (len(labels), -1))
        length = float(np.linalg.norm(moved, axis=1).mean())
        return Measurement.of(survived).counts() | {"mean_l2": length}

    return cached(folder, key, measure)


def survivors(
    attack: Attack,
    target: keras.Model,
    crafted_on: keras.Model,
    images,
    labels,
    folder: Path,
    precision: str = "float32",
) -> np.ndarray:
    """Return which examples survive, bool [n]; takes the arguments of `measured`."""
    x_adv = _adversarial(attack, crafted_on, images, labels, folder, precision)
    return _survive(target, images, x_adv, labels)


def gradient_amplitude(defence: keras.Model, images, folder: Path) -> dict:
    """Return {"value"}: the mean absolute entry of the Jacobian of softmax(logits) at the images.

    Paper: Revisiting, equation 2 and Table 4: the mean over the test set of |grad f(x)|_1, where f
    is the classifier with its softmax. We read it as the L1 norm of the whole Jacobian, because the
    gradient of the sum of the probabilities would be 0. We divide the norm by its number of
    entries, which gives the printed magnitude. Multiply by pixels * classes to get the norm itself.
    """
    key = {"amplitude": weights_hash(defence), "examples": len(images)}
    return cached(folder, key, lambda: {"value": _amplitude(defence, images)})


def _amplitude(defence, images) -> float:
    @tf.function
    def batch(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            probabilities = tf.nn.softmax(defence(x, training=False))
        return tf.reduce_mean(tf.abs(tape.batch_jacobian(probabilities, x)), axis=(1, 2, 3, 4))

    batches = tf.data.Dataset.from_tensor_slices(images).batch(100)
    return float(np.mean(np.concatenate([batch(x).numpy() for x in batches])))


def parameters(attack: Attack) -> dict:
    """Return the attack's settings, except threat model and seed."""
    if attack.name == "pgd":
        return {"steps": PGD_STEPS, "step_size": threat_of(attack).default_step_size(PGD_STEPS)}
    return PARAMETERS.get(attack.name, {})


def forget_images(folder: Path) -> None:
    """Delete the adversarial images that `measured` caches because several targets share them."""
    shutil.rmtree(folder / IMAGES, ignore_errors=True)


def _survive(target, images, x_adv, labels) -> np.ndarray:
    return correct(target, images, labels) & resists(target, x_adv, labels)


def _precision(attack: Attack, precision: str) -> str:
    return precision if attack.eps is not None else "float32"


def _crafting(attack: Attack, model, examples: int, precision: str) -> dict:
    """Return everything that adversarial images depend on, the key of their cache."""
    return {
        "attack": dataclasses.asdict(attack),
        "parameters": parameters(attack),
        "crafted_on": weights_hash(model),
        "precision": _precision(attack, precision),
        "examples": examples,
    }


def _adversarial(attack: Attack, model, images, labels, folder: Path, precision: str):
    """Return images crafted on the model; several targets share their cached file."""
    if attack.name == "clean":
        return images
    name = json_hash(_crafting(attack, model, len(labels), precision))
    path = folder / IMAGES / f"{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"writing-{path.name}")
        np.save(temporary, _crafted(attack, model, images, labels, _precision(attack, precision)))
        temporary.replace(path)
    return np.load(path)


def _crafted(attack: Attack, model, images, labels, precision: str):
    threat = threat_of(attack)
    if attack.name == "autoattack":
        return autoattack(model, images, labels, threat=threat, precision=precision)["x_adv"]
    return attack_all(
        model,
        attack.name,
        images,
        labels,
        threat=threat,
        parameters=parameters(attack),
        precision=precision,
    )
