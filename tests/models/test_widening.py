"""A network widened: what it computes stays, and its copies learn apart."""

import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.models import build
from keras_aaa.models.widening import widen

SHAPE = (16, 16, 3)
IMAGES = tf.random.stateless_uniform((8, *SHAPE), (1, 2))


def _trained(architecture: str, width: int):
    """A model none of whose weights is at its initial value, as after training."""
    model = build(architecture, input_shape=SHAPE, width=width)
    random = np.random.default_rng(width)
    for weight in model.weights:
        if len(weight.shape) == 1:  # gamma, beta, bias, mean; a variance is positive
            positive = weight.name in ("gamma", "moving_variance")
            weight.assign(random.uniform(0.5 if positive else -0.5, 1.5, weight.shape))
    return model


@pytest.mark.parametrize("architecture", ["unet", "conv_autoencoder"])
@pytest.mark.parametrize("width", [3, 6, 7])
def test_a_widened_network_computes_what_the_narrow_one_does(architecture, width):
    narrow = _trained(architecture, 3)
    wide = _trained(architecture, width)
    before = narrow(IMAGES)
    assert not np.allclose(wide(IMAGES), before, atol=1e-3)
    widen(narrow, wide)
    np.testing.assert_allclose(wide(IMAGES), before, atol=1e-5)
    np.testing.assert_array_equal(narrow(IMAGES), before)


def test_of_the_same_width_it_is_the_same_network():
    narrow = _trained("unet", 2)
    wide = build("unet", input_shape=SHAPE, width=2)
    widen(narrow, wide)
    for old, new in zip(narrow.get_weights(), wide.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6)


def test_copies_part_in_training():
    wide = build("unet", input_shape=SHAPE, width=4)
    widen(_trained("unet", 2), wide)
    kernel = next(weight for weight in wide.trainable_variables if len(weight.shape) == 4)
    np.testing.assert_array_equal(kernel[..., :2], kernel[..., 2:])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(wide(IMAGES, training=True) - IMAGES))
    gradient = tape.gradient(loss, kernel.value).numpy()
    first, second = gradient[..., :2], gradient[..., 2:]
    assert np.abs(first - second).max() > 0.1 * np.abs(first).max()


def test_what_cannot_be_widened_is_refused():
    with pytest.raises(ValueError, match="2 filters, expected at least 3"):
        widen(_trained("unet", 3), build("unet", input_shape=SHAPE, width=2))
    with pytest.raises(ValueError, match="expected the layers of unet"):
        widen(_trained("unet", 2), _trained("conv_autoencoder", 2))
    with pytest.raises(ValueError, match="cannot be widened"):
        widen(_trained("conv_dense_autoencoder", 2), _trained("conv_dense_autoencoder", 4))
