"""Building blocks that several architectures share."""

import keras
import tensorflow as tf
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.fused_batch_norm import FusedBatchNormalization

Shape = tuple[int, ...]


@keras.saving.register_keras_serializable("keras_aaa")
class CheckedImages(layers.Layer):
    """A layer that returns its images, and raises in an eager call with values outside [0, 1].

    Without it, integers from 0 to 255 or normalised images would give wrong logits without an
    error. Inside a graph (an attack, training, a served model) the layer checks nothing.
    """

    def call(self, images):
        if tf.executing_eagerly() and tf.size(images):
            low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
            if not (low >= 0 and high <= 1):  # false for NaN too
                raise ValueError(
                    f"images: expected finite values in [0, 1], received {low:.4g} to {high:.4g}. "
                    "Divide integers by 255; do not normalise further."
                )
        return images


def conv(x, filters: int, kernel: int = 3, stride: int = 1, activation: str | None = "relu"):
    """Apply a convolution with same padding ("filters-kernel-stride" in the paper's tables)."""
    return channels_last.Conv2D(filters, kernel, stride, padding="same", activation=activation)(x)


def conv_bn(x, filters: int, kernel: int = 3, repeats: int = 2):
    """Apply convolution, batch normalisation and ReLU `repeats` times ("conv-bn x2" in tables)."""
    for _ in range(repeats):
        x = channels_last.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        x = normalised(x)
        x = layers.ReLU()(x)
    return x


def normalised(x):
    """Apply batch normalisation.

    Replicas synchronise their statistics. Otherwise the saved statistics would be replica 0's.
    The moving averages follow within tens of steps; Keras' default needs hundreds. Attacks use the
    averages, and images crafted with averages that lag behind are weak against the trained network.
    """
    return FusedBatchNormalization(momentum=0.9, synchronized=True)(x)


def image_input(shape: Shape, divisible_by: int = 1) -> keras.KerasTensor:
    """Return a Keras input of float32 images.

    Args:
        shape: (h, w, c).
        divisible_by: the total stride, which must divide h and w.

    Raises:
        ValueError: if `shape` is not (h, w, c), or h or w is not divisible.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape: expected (height, width, channels), got {shape}.")
    if shape[0] % divisible_by or shape[1] % divisible_by:
        raise ValueError(
            f"input_shape: height and width must be divisible by {divisible_by}, got {shape}."
        )
    return keras.Input(shape, dtype="float32", name="images")


def checked(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Apply CheckedImages, the first layer after every input."""
    return CheckedImages(dtype="float32", name="checked")(inputs)


def logits(x, classes: int, name: str | None = None):
    """Apply the last layers of a classifier: float32 logits under every precision, no softmax.

    Args:
        x: features [n, d].
        classes: number of logits.
        name: name of the dense layer.
    """
    dense = layers.Dense(classes, name=name)(x)
    return layers.Activation("linear", dtype="float32", name="logits")(dense)


def pixels(x):
    """Apply the last layer of an autoencoder: float32 pixels in [0, 1]."""
    return layers.Activation("sigmoid", dtype="float32", name="reconstruction")(x)
