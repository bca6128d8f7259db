"""Convolutions from and to one channel against Keras' own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.fast.one_channel import OneChannelConv2D, OneFilterConv2DTranspose, one_channel_layer


def _both(inputs, layer, fast_class):
    """(outputs, gradients for the inputs and weights) of the layer and of its fast twin."""
    fast = fast_class.from_config(layer.get_config())
    fast.build(inputs.shape)
    fast.set_weights(layer.get_weights())
    found = []
    for each in (layer, fast):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = each(inputs)
            loss = tf.reduce_sum(outputs * tf.cos(outputs))
        found.append((outputs, *tape.gradient(loss, [inputs, *each.trainable_variables])))
    return found


@pytest.mark.parametrize("size", [(28, 28), (5, 9)])
@pytest.mark.parametrize("kernel", [1, 3, (5, 2)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_convolution_of_one_channel_is_keras_own(size, kernel, stride, padding):
    images = tf.random.stateless_normal((2, *size, 1), (1, 2))
    layer = keras.layers.Conv2D(4, kernel, stride, padding, bias_initializer="normal")
    layer.build(images.shape)
    for mine, theirs in zip(*_both(images, layer, OneChannelConv2D), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [2, 3, (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_transposed_convolution_to_one_channel_is_keras_own(kernel, stride, use_bias):
    latent = tf.random.stateless_normal((2, 4, 7, 3), (1, 2))
    layer = keras.layers.Conv2DTranspose(
        1, kernel, stride, "same", activation="tanh", use_bias=use_bias, bias_initializer="normal"
    )
    layer.build(latent.shape)
    for mine, theirs in zip(*_both(latent, layer, OneFilterConv2DTranspose), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "channels, layer, expected",
    [
        (1, keras.layers.Conv2D(2, 3), OneChannelConv2D),
        (3, keras.layers.Conv2D(2, 3), keras.layers.Conv2D),
        (1, keras.layers.Conv2D(2, 3, dilation_rate=2), keras.layers.Conv2D),
        (3, keras.layers.Conv2DTranspose(1, 3, 2, "same"), OneFilterConv2DTranspose),
        (3, keras.layers.Conv2DTranspose(1, 3, 2), keras.layers.Conv2DTranspose),
        (3, keras.layers.Conv2DTranspose(2, 3, 2, "same"), keras.layers.Conv2DTranspose),
        (3, keras.layers.MaxPooling2D(), keras.layers.MaxPooling2D),
    ],
)
def test_which_class_computes_a_layer(channels, layer, expected):
    layer(keras.Input((28, 28, channels)))
    assert one_channel_layer(layer) is expected
