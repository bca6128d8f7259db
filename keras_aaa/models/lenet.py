"""LeNet-5 and a similar substitute classifier. Paper: Revisiting, Tables 1 and 2."""

import keras
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.blocks import Shape, checked, image_input, logits


def lenet5(input_shape: Shape = (28, 28, 1), classes: int = 10) -> keras.Model:
    """LeNet-5 with ReLU and max-pooling: two 5 x 5 convolutions, dense layers of 120 and 84.

    Paper: Revisiting, "LeNet5"; LeCun et al. 1998. The paper does not print its layers; these are
    the common ones. The first convolution is padded because the digits are 28 pixels wide, not 32.

    Args:
        input_shape: (h, w, c), h and w at least 16 and even.
        classes: number of logits.
    """
    return _lenet(input_shape, classes, (6, 16), (120, 84), "same", "lenet5")


def lenet_like(input_shape: Shape = (28, 28, 1), classes: int = 10) -> keras.Model:
    """A wider, shallower LeNet: 20 and 50 filters of 5 x 5, a dense layer of 500.

    Paper: Revisiting, Table 2 (a), the "LeNet-like" substitute. Its layers are not printed.

    Args:
        input_shape: (h, w, c), h and w at least 16 and even.
        classes: number of logits.
    """
    return _lenet(input_shape, classes, (20, 50), (500,), "valid", "lenet_like")


def _lenet(input_shape, classes, filters, dense, padding, name):
    inputs = image_input(input_shape, divisible_by=2)
    if min(input_shape[:2]) < 16:
        raise ValueError(
            f"input_shape: expected a height and width of at least 16, got {input_shape}."
        )
    x = channels_last.Conv2D(filters[0], 5, padding=padding, activation="relu")(checked(inputs))
    x = channels_last.MaxPooling2D()(x)
    x = channels_last.Conv2D(filters[1], 5, activation="relu")(x)
    x = channels_last.MaxPooling2D()(x)
    x = channels_last.Flatten()(x)
    for units in dense:
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, logits(x, classes), name=name)
