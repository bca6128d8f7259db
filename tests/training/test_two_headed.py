"""Training an autoencoder with a cross-entropy on its latent beside the loss."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.fast.precision import POLICIES
from keras_aaa.models import build
from keras_aaa.models.surgery import LATENT_CLASSIFIER, encoder, two_headed
from keras_aaa.threat_model import threat_for
from keras_aaa.training import LOSSES, AutoencoderTask, Recipe, Task, TwoHeadedTask
from keras_aaa.training.step import StepInputs, make_step
from keras_aaa.training.validation import Validator

IMAGES = tf.random.stateless_uniform((8, 28, 28, 1), (1, 2))
LABELS = tf.constant([0, 1, 2, 3, 4, 5, 6, 7], tf.int64)


def made(latent: float, precision: str = "float32") -> Task:
    keras.utils.set_random_seed(0)
    autoencoder = build("conv_autoencoder", width=2, dtype=POLICIES[precision])
    loss = dataclasses.replace(LOSSES["ce_mse"], latent=latent)
    classifier = build("fc", hidden=(8,))
    models = autoencoder, (classifier,), loss, threat_for("mnist")
    return (
        TwoHeadedTask(two_headed(autoencoder, 10), *models) if latent else AutoencoderTask(*models)
    )


def taken_step(task: Task, precision: str) -> list[np.ndarray]:
    """The autoencoder's trainable weights after one training step."""
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(task.trained.trainable_variables)
    step = tf.function(make_step(task, {task.loss: optimizer}, 8, precision))
    noise, none, one = IMAGES * 2 - 1, tf.zeros(()), tf.constant(1)
    step(StepInputs(IMAGES, LABELS, noise, none + 0.3, none + 0.3, one, none + 0.3), 0)
    return [variable.numpy() for variable in task.autoencoder.trainable_variables]


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_it_moves_the_encoder_and_its_own_layer_not_the_decoder(precision):
    task = made(2.0, precision)
    layer = task.two_headed.get_layer(LATENT_CLASSIFIER)
    before = layer.get_weights()
    with_it, without = taken_step(task, precision), taken_step(made(0.0, precision), precision)
    kept = len(encoder(task.autoencoder).trainable_variables)
    moved = [not np.array_equal(a, b) for a, b in zip(with_it, without, strict=True)]
    # What the decoder's gradients are does not depend on the latent's logits.
    assert any(moved[:kept]) and not any(moved[kept:])
    after = layer.get_weights()
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_validation_leaves_it_out():
    recipe = Recipe(epochs=1, validation_steps=2)
    strategy = tf.distribute.get_strategy()
    figures = [
        Validator(made(latent), IMAGES, LABELS, recipe, "float32", strategy)()
        for latent in (0.0, 2.0)
    ]
    assert figures[0] == figures[1]


def test_a_latent_weight_needs_the_model_for_it():
    task, other = made(2.0), made(2.0)
    with pytest.raises(ValueError, match="expected no latent weight"):
        AutoencoderTask(task.autoencoder, task.classifiers, task.loss)
    with pytest.raises(ValueError, match="expected a latent weight"):
        dataclasses.replace(task, loss=LOSSES["ce_mse"])
    with pytest.raises(ValueError, match="which has other layers"):
        dataclasses.replace(task, two_headed=other.two_headed)
