"""Models compute the same under Keras' setting for images with the channels first."""

import keras
import numpy as np
import pytest

import zoo
from keras_aaa.models import ARCHITECTURES, build


@pytest.fixture
def channels_first():
    """Call it to change the setting, which ends with the test."""
    yield lambda: keras.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name, channels_first):
    usual = build(name)
    images = np.random.default_rng(0).random((2, *usual.input_shape[1:]), np.float32)
    expected = usual(images)
    channels_first()
    model = build(name)
    model.set_weights(usual.get_weights())
    for output, wanted in zip(
        keras.tree.flatten(model(images)), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_array_equal(output, wanted)


@pytest.mark.parametrize("name", ["mnist_madry", "aaa_mnist_ce_mse"])
def test_a_model_of_the_zoo(name, channels_first, digits):
    expected = zoo.load(name)(digits[0])
    channels_first()
    np.testing.assert_array_equal(zoo.load(name)(digits[0]), expected)
