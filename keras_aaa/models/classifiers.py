"""The small classifiers of the AAA paper (Tables 11 to 13): images -> logits."""

import keras
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.blocks import Shape, checked, conv, image_input, logits


def madry(
    input_shape: Shape = (28, 28, 1), classes: int = 10, width: int = 32, dense: int = 1024
) -> keras.Model:
    """MNIST source classifier: Madry's challenge network.

    Paper: AAA Table 11, "DNN".

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        classes: number of logits.
        width: filters of the first convolution; the second has twice as many.
        dense: units of the hidden dense layer.
    """
    return _conv_pool(input_shape, classes, width, dense, convolutions=1, name="madry")


def cnn(
    input_shape: Shape = (28, 28, 1), classes: int = 10, width: int = 32, dense: int = 1024
) -> keras.Model:
    """Fashion-MNIST source classifier: two convolutions per stage.

    Paper: AAA Table 12, "DNN".

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        classes: number of logits.
        width: filters of the first stage; the second stage has twice as many.
        dense: units of the hidden dense layer.
    """
    return _conv_pool(input_shape, classes, width, dense, convolutions=2, name="cnn")


def _conv_pool(input_shape, classes, width, dense, convolutions, name):
    inputs = image_input(input_shape, divisible_by=4)
    x = checked(inputs)
    for filters in (width, 2 * width):
        for _ in range(convolutions):
            x = conv(x, filters)
        x = channels_last.MaxPooling2D()(x)
    x = channels_last.Flatten()(x)
    x = layers.Dense(dense, activation="relu")(x)
    return keras.Model(inputs, logits(x, classes), name=name)


def fc(
    input_shape: Shape = (28, 28, 1), classes: int = 10, hidden: tuple[int, ...] = (256, 256)
) -> keras.Model:
    """Fully connected target classifier.

    Paper: AAA Table 11, "FC" (hidden 256, 256); Table 12, "FC" (1024, 512, 256).

    Args:
        input_shape: (h, w, c).
        classes: number of logits.
        hidden: units of each hidden layer.
    """
    inputs = image_input(input_shape)
    x = channels_last.Flatten()(checked(inputs))
    for units in hidden:
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, logits(x, classes), name="fc")


def dnn(
    input_shape: Shape = (32, 32, 3),
    classes: int = 10,
    width: int = 32,
    dense: int = 1500,
    dropout: float = 0.5,
) -> keras.Model:
    """CIFAR-10 DNN: four convolutions and a dense layer.

    Paper: AAA Table 13, second column.

    Args:
        input_shape: (h, w, c), h and w divisible by 8.
        classes: number of logits.
        width: filters of the first convolution; the next have 2, 4 and 4 times as many.
        dense: units of the hidden dense layer.
        dropout: rate of each dropout layer, in [0, 1).
    """
    inputs = image_input(input_shape, divisible_by=8)
    x = conv(checked(inputs), width)
    x = conv(x, 2 * width)
    x = channels_last.MaxPooling2D()(x)
    x = layers.Dropout(dropout)(x)
    x = conv(x, 4 * width)
    x = channels_last.MaxPooling2D()(x)
    x = conv(x, 4 * width, kernel=2)
    x = channels_last.MaxPooling2D()(x)
    x = layers.Dropout(dropout)(x)
    x = channels_last.Flatten()(x)
    x = layers.Dense(dense, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, logits(x, classes), name="dnn")
