"""The small classifiers of the AAA paper (Tables 11 to 13): images to logits."""

import keras
from keras import layers

from keras_aaa.models.blocks import Shape, checked, conv, image_input, logits


def madry(
    input_shape: Shape = (28, 28, 1), classes: int = 10, width: int = 32, dense: int = 1024
) -> keras.Model:
    """MNIST source classifier: Madry's challenge network. Paper: AAA Table 11, "DNN"."""
    return _conv_pool(input_shape, classes, width, dense, convolutions=1, name="madry")


def cnn(
    input_shape: Shape = (28, 28, 1), classes: int = 10, width: int = 32, dense: int = 1024
) -> keras.Model:
    """Fashion-MNIST source classifier: two convolutions a stage. Paper: AAA Table 12, "DNN"."""
    return _conv_pool(input_shape, classes, width, dense, convolutions=2, name="cnn")


def _conv_pool(input_shape, classes, width, dense, convolutions, name):
    inputs = image_input(input_shape, divisible_by=4)
    x = checked(inputs)
    for filters in (width, 2 * width):
        for _ in range(convolutions):
            x = conv(x, filters)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(dense, activation="relu")(x)
    return keras.Model(inputs, logits(x, classes), name=name)


def fc(
    input_shape: Shape = (28, 28, 1), classes: int = 10, hidden: tuple[int, ...] = (256, 256)
) -> keras.Model:
    """Fully connected target classifier.

    Paper: AAA Table 11, "FC" (hidden 256, 256); Table 12, "FC" (1024, 512, 256).
    """
    inputs = image_input(input_shape)
    x = layers.Flatten()(checked(inputs))
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
    """CIFAR-10 DNN: four convolutions and a dense layer. Paper: AAA Table 13, second column."""
    inputs = image_input(input_shape, divisible_by=8)
    x = conv(checked(inputs), width)
    x = conv(x, 2 * width)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(dropout)(x)
    x = conv(x, 4 * width)
    x = layers.MaxPooling2D()(x)
    x = conv(x, 4 * width, kernel=2)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(dropout)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(dense, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, logits(x, classes), name="dnn")
