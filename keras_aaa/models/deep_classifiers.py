"""The deep classifiers for small images: residual networks and VGG."""

import keras
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.blocks import Shape, checked, conv_bn, image_input, logits, normalised


def narrow_resnet(
    input_shape: Shape = (32, 32, 3),
    classes: int = 10,
    filters: tuple[int, ...] = (16, 16, 32, 64),
    units: int = 5,
) -> keras.Model:
    """Pre-activation residual network that normalises each image to mean 0 and deviation 1.

    Paper: AAA, CIFAR-10 results; Madry et al. 2018, "simple" network of the challenge. Leaky ReLU
    has slope 0.1. A shortcut that changes size is average-pooled and padded with zero channels.

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        classes: number of logits.
        filters: numbers of filters in the first convolution and in the three stages.
        units: residual units per stage.
    """
    inputs = image_input(input_shape, divisible_by=4)
    # Per-image standardisation, over all pixels and channels.
    x = layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, epsilon=1e-6)(
        checked(inputs)
    )
    x = _conv(x, filters[0], 1)
    for stage, width in enumerate(filters[1:]):
        for unit in range(units):
            activated = _activation(x)
            # The shortcut of the first unit starts after the activation, as in the original.
            shortcut = activated if stage == unit == 0 else x
            stride = 2 if stage and not unit else 1
            x = _residual(activated, width, stride, shortcut)
    x = channels_last.GlobalAveragePooling2D()(_activation(x))
    return keras.Model(inputs, logits(x, classes), name="resnet")


def resnet110(
    input_shape: Shape = (32, 32, 3),
    classes: int = 10,
    filters: tuple[int, ...] = (16, 32, 64),
    units: int = 18,
) -> keras.Model:
    """ResNet for CIFAR-10: three stages of basic units, 6 * units + 2 layers.

    Paper: Revisiting, Table 2 (a), the substitute; He et al. 2016, section 4.2. ReLU follows the
    addition. Shortcuts have no parameters; they are strided and padded with zero channels.

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        classes: number of logits.
        filters: numbers of filters in the three stages.
        units: basic units per stage.
    """
    inputs = image_input(input_shape, divisible_by=4)
    x = _relu_normalised(_conv(checked(inputs), filters[0], 1))
    for stage, width in enumerate(filters):
        for unit in range(units):
            stride = 2 if stage and not unit else 1
            y = _relu_normalised(_conv(x, width, stride))
            y = normalised(_conv(y, width, 1))
            shortcut = x[:, ::stride, ::stride] if stride > 1 else x
            x = layers.ReLU()(layers.Add()([y, _padded(shortcut, width)]))
    x = channels_last.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, logits(x, classes), name="resnet110")


def _relu_normalised(x):
    return layers.ReLU()(normalised(x))


def _padded(x, filters):
    """Pad x with zero channels on both sides, up to `filters` channels."""
    missing = filters - x.shape[-1]
    if not missing:
        return x
    sides = (missing // 2, missing - missing // 2)
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), sides))


def _conv(x, filters, stride):
    return channels_last.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)


def _activation(x):
    return layers.LeakyReLU(0.1)(normalised(x))


def _residual(x, filters, stride, shortcut):
    x = _activation(_conv(x, filters, stride))
    x = _conv(x, filters, 1)
    if stride > 1:
        shortcut = channels_last.AveragePooling2D(stride)(shortcut)
    return layers.Add()([x, _padded(shortcut, filters)])


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
