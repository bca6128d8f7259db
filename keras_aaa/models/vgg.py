"""VGG-16 and VGG-19 with batch normalisation, for small images."""

import keras
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.blocks import Shape, checked, conv_bn, image_input, logits

# For each block of configurations D and E: (multiple of the first block's filters, convolutions).
VGG16_BLOCKS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
VGG19_BLOCKS = ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4))


def vgg16(
    input_shape: Shape = (32, 32, 3), classes: int = 10, width: int = 64, dropout: float = 0.5
) -> keras.Model:
    """VGG-16: thirteen convolutions in five blocks; otherwise the same as vgg19.

    It takes the same arguments as vgg19.
    Paper: Revisiting, "VGG16"; Simonyan and Zisserman 2015, configuration D.
    """
    return _vgg(VGG16_BLOCKS, input_shape, classes, width, dropout, "vgg16")


def vgg19(
    input_shape: Shape = (32, 32, 3), classes: int = 10, width: int = 64, dropout: float = 0.5
) -> keras.Model:
    """VGG-19: sixteen convolutions in five blocks, two hidden dense layers, batch normalised.

    Paper: AAA, CIFAR-10 results; Simonyan and Zisserman 2015, configuration E. The two dense
    layers have 8 * width units (4096 in the original, made for 224 x 224 images).

    Args:
        input_shape: (h, w, c), h and w divisible by 32.
        classes: number of logits.
        width: filters of the first block (64 in the paper).
        dropout: rate after each dense layer, in [0, 1).
    """
    return _vgg(VGG19_BLOCKS, input_shape, classes, width, dropout, "vgg19")


def _vgg(blocks, input_shape, classes, width, dropout, name):
    inputs = image_input(input_shape, divisible_by=32)
    x = checked(inputs)
    for multiple, convolutions in blocks:
        x = conv_bn(x, multiple * width, repeats=convolutions)
        x = channels_last.MaxPooling2D()(x)
    x = channels_last.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(8 * width, activation="relu")(x)
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, logits(x, classes), name=name)
