"""Estimate how long a run will take on this machine, from a probe of a second or two."""

import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from experiments.train_run import RunContext
from keras_aaa import data
from keras_aaa.attacks import pgd
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Recipe
from keras_aaa.training.schedule import work

PROBE_EXAMPLES, PROBE_STEPS = 64, 4


def announce(
    setting: RunContext,
    threat: ThreatModel,
    training: Sequence[tuple[keras.Model, Sequence[Recipe]]],
    testing: Sequence[tuple[keras.Model, int]],
    crafting: str,
) -> None:
    """Print an estimate of the time for training and for measuring on this machine.

    Args:
        setting: data set and precision of training.
        threat: the threat model.
        training: for each size of model that is trained under attack: a model (images -> logits)
            and the recipes of its runs.
        testing: for each size of model that the test attacks attack: a model (images -> logits)
            and the number of steps, summed over all examples and all models of that size.
        crafting: precision of the test attacks.
    """
    size = data.image_spec(setting.dataset, setting.data_dir).examples["train"]
    known: dict[tuple[int, str], float] = {}

    def seconds(model: keras.Model, precision: str, count: float) -> float:
        key = id(model), precision
        if count and key not in known:
            known[key] = _seconds_per_gradient(model, threat, precision)
        return known[key] * count if count else 0.0

    trained = sum(
        seconds(model, setting.precision, sum(gradients(recipe, size) for recipe in recipes))
        for model, recipes in training
    )
    measuring = sum(seconds(model, crafting, steps) for model, steps in testing)
    print(
        # "At most", because examples misclassified clean are not attacked.
        f"On this machine: about {_minutes(trained)} of training and at most {_minutes(measuring)} "
        f"of measuring. Results of an earlier run in {setting.workdir} are reused.",
        flush=True,
    )


def gradients(recipe: Recipe, size: int) -> float:
    """Return the number of image gradients of a run; `size` is that of the training split."""
    total = recipe.epochs * ((recipe.train_examples or size) // recipe.batch_size)
    return recipe.batch_size * sum(work(recipe, step, total) for step in range(total))


def _seconds_per_gradient(defence: keras.Model, threat: ThreatModel, precision: str) -> float:
    model = fast_copy(defence, precision)
    images = tf.zeros((PROBE_EXAMPLES, *defence.input_shape[1:]))
    labels = tf.zeros(PROBE_EXAMPLES, tf.int64)

    def probe():
        began = time.monotonic()
        pgd(model, images, labels, threat=threat, steps=PROBE_STEPS, step_size=threat.eps / 4)
        return time.monotonic() - began

    probe()  # compiles
    return min(probe(), probe()) / (PROBE_STEPS * PROBE_EXAMPLES)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
