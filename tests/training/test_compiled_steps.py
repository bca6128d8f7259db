"""A step compiled ahead of time, taken by JAX, is the step that TensorFlow takes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.training import LOSSES, AutoencoderTask
from keras_aaa.training.averages import Averages
from keras_aaa.training.compiled import export_training
from keras_aaa.training.step import StepInputs, make_optimizer, make_step
from tests.helpers import HELPERS
from tests.helpers.small_trainings import RECIPE, THREAT, small_autoencoder, small_classifier

pytest.importorskip("jax")


def batches(count):
    generator = np.random.default_rng(0)
    images = generator.random((count, 8, 28, 28, 1), np.float32)
    labels = generator.integers(0, 10, (count, 8))
    return images, labels, generator.uniform(-1, 1, images.shape).astype(np.float32)


def by_tensorflow(task, recipe, steps, attack_steps):
    """Losses and the trained model's variables after that many steps of `make_step`."""
    optimizers = {loss: make_optimizer(recipe, task.trained) for loss in task.losses}
    averages = Averages(task.trained, recipe.average_decay)
    step = tf.function(make_step(task, optimizers, recipe.batch_size, "float32", averages))
    settings = [tf.constant(value) for value in (0.1, 0.1, attack_steps, 0.05)]
    losses = [
        float(step(StepInputs(*map(tf.constant, batch), *settings), 0)["loss"])
        for batch in zip(*batches(steps), strict=True)
    ]
    variables = [*task.trained.variables, *averages.variables]
    return losses, [np.asarray(variable) for variable in variables]


@pytest.mark.parametrize(
    "steps, attack_steps", [pytest.param(1, 0, marks=pytest.mark.slow), (20, 0), (20, 2)]
)
def test_jax_takes_the_same_steps(steps, attack_steps, tmp_path):
    def task():
        keras.utils.set_random_seed(1)
        classifier = small_classifier()
        return AutoencoderTask(small_autoencoder(), (classifier,), LOSSES["ce_mse"], THREAT)

    one = task()
    first = [np.asarray(variable) for variable in one.trained.variables]
    export_training(
        one,
        RECIPE,
        tmp_path / "steps",
        precision="float32",
        fresh=False,
    )
    frozen = [np.asarray(variable) for variable in one.classifiers[0].variables]
    names = ("images", "labels", "noise")
    np.savez(tmp_path / "batches.npz", **dict(zip(names, batches(steps), strict=True)))
    np.savez(tmp_path / "frozen.npz", *frozen)
    script = HELPERS / "jax_steps.py"
    subprocess.run([sys.executable, script, tmp_path, str(attack_steps)], check=True, timeout=300)
    with np.load(tmp_path / "after.npz") as file:
        losses = file["losses"]
        after = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
    expected_losses, expected = by_tensorflow(task(), RECIPE, steps, attack_steps)
    if attack_steps:  # signs of gradients near zero differ
        assert abs(np.mean(losses) - np.mean(expected_losses)) < 0.02 * np.mean(expected_losses)
        return
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    change = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(expected, first, strict=False)))
    apart = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(expected, after, strict=False)))
    assert apart < 1e-3 * change
    assert len(after) > len(expected)  # the optimizer's too
