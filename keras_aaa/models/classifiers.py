"""The small classifiers: AAA Tables 11 to 13, Revisiting's LeNets, an MLP-Mixer."""

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


def mlp_mixer(
    input_shape: Shape = (28, 28, 1),
    classes: int = 10,
    patch: int = 4,
    width: int = 64,
    token_units: int = 64,
    channel_units: int = 128,
    blocks: int = 4,
) -> keras.Model:
    """MLP-Mixer: dense layers alternate between the patches and the channels.

    Tolstikhin et al. 2021, "MLP-Mixer: An all-MLP Architecture for Vision". The papers do not use
    it. It is a target classifier that no autoencoder was trained with.

    Args:
        input_shape: (h, w, c), h and w divisible by `patch`.
        classes: number of logits.
        patch: side of a square patch, in pixels.
        width: channels of a patch's vector.
        token_units, channel_units: hidden units of the two kinds of dense block.
        blocks: number of blocks.
    """
    inputs = image_input(input_shape, divisible_by=patch)
    patches = (input_shape[0] // patch) * (input_shape[1] // patch)
    x = channels_last.Conv2D(width, patch, patch)(checked(inputs))
    x = layers.Reshape((patches, width))(x)
    for _ in range(blocks):
        mixed = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(x))
        mixed = layers.Permute((2, 1))(_two_layers(mixed, token_units, patches))
        x = layers.Add()([x, mixed])
        mixed = _two_layers(layers.LayerNormalization(epsilon=1e-6)(x), channel_units, width)
        x = layers.Add()([x, mixed])
    x = channels_last.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(inputs, logits(x, classes), name="mixer")


def _two_layers(x, hidden: int, units: int):
    return layers.Dense(units)(layers.Dense(hidden, activation="gelu")(x))
