"""What several architectures share."""

import keras
import tensorflow as tf
from keras import layers

from keras_aaa.models.normalisation import FusedBatchNormalization

Shape = tuple[int, ...]


@keras.saving.register_keras_serializable("keras_aaa")
class CheckedImages(layers.Layer):
    """Passes images on, and refuses an eager call with values that are no images in [0, 1].

    Integers of 0 to 255 or normalised images would else be answered silently, and wrongly. Inside
    a graph (an attack, training, a served model) it does nothing.
    """

    def call(self, images):
        if tf.executing_eagerly() and tf.size(images):
            low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
            if not (low >= 0 and high <= 1):  # false for NaN too
                raise ValueError(
                    f"images: expected finite values in [0, 1], received {low:.4g} to {high:.4g}. "
                    "Divide integers by 255; a classifier normalises inside itself."
                )
        return images


def conv(x, filters: int, kernel: int = 3, stride: int = 1, activation: str | None = "relu"):
    """Convolution with same padding, written filters-kernel-stride in the paper's tables."""
    return layers.Conv2D(filters, kernel, stride, padding="same", activation=activation)(x)


def conv_bn(x, filters: int, kernel: int = 3, repeats: int = 2):
    """`repeats` of convolution, batch normalisation, ReLU ("conv-bn x2" in the tables)."""
    for _ in range(repeats):
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        x = normalised(x)
        x = layers.ReLU()(x)
    return x


def normalised(x):
    """Batch normalisation.

    Synchronised, for with several replicas the saved statistics would else be replica 0's. Their
    moving average follows within tens of steps, not Keras' hundreds: attacks see the averages, and
    what is crafted on a network that lags behind the one being trained is weak against it.
    """
    return FusedBatchNormalization(momentum=0.9, synchronized=True)(x)


def image_input(shape: Shape, divisible_by: int = 1) -> keras.KerasTensor:
    """Input of float32 images; the height and width must be divisible by the total stride.

    Raises:
        ValueError: if `shape` is not (h, w, c) or does not divide.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape: expected (height, width, channels), got {shape}.")
    if shape[0] % divisible_by or shape[1] % divisible_by:
        raise ValueError(
            f"input_shape: height and width must be divisible by {divisible_by}, got {shape}."
        )
    return keras.Input(shape, dtype="float32", name="images")


def checked(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The first layer after an input: see CheckedImages."""
    return CheckedImages(dtype="float32", name="checked")(inputs)


def logits(x, classes: int, name: str | None = None):
    """The last layer: float32 logits under every precision, never softmax.

    Args:
        x: features [n, d].
        classes: number of logits.
        name: of the dense layer that makes them.
    """
    dense = layers.Dense(classes, name=name)(x)
    return layers.Activation("linear", dtype="float32", name="logits")(dense)


def pixels(x):
    """The last layer of an autoencoder: float32 pixels in [0, 1]."""
    return layers.Activation("sigmoid", dtype="float32", name="reconstruction")(x)
