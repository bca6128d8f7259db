"""The narrow residual network of Madry's CIFAR-10 challenge."""

import keras
from keras import layers

from keras_aaa.models.blocks import Shape, checked, image_input, logits


def narrow_resnet(
    input_shape: Shape = (32, 32, 3),
    classes: int = 10,
    filters: tuple[int, ...] = (16, 16, 32, 64),
    units: int = 5,
) -> keras.Model:
    """Pre-activation residual network; normalises each image to mean 0, deviation 1 itself.

    Paper: AAA, CIFAR-10 results; Madry et al. 2018, "simple" network of the challenge. Leaky ReLU
    of slope 0.1; a shortcut that changes size is average-pooled and padded with zero channels.

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        classes: number of logits.
        filters: of the first convolution and of the three stages.
        units: residual units a stage.
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
            # The very first unit's shortcut starts after the activation, as in the original.
            shortcut = activated if stage == unit == 0 else x
            stride = 2 if stage and not unit else 1
            x = _residual(activated, width, stride, shortcut)
    x = layers.GlobalAveragePooling2D()(_activation(x))
    return keras.Model(inputs, logits(x, classes), name="resnet")


def _conv(x, filters, stride):
    return layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)


def _activation(x):
    return layers.LeakyReLU(0.1)(layers.BatchNormalization(synchronized=True)(x))


def _residual(x, filters, stride, shortcut):
    x = _activation(_conv(x, filters, stride))
    x = _conv(x, filters, 1)
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride)(shortcut)
    if missing := filters - shortcut.shape[-1]:
        sides = (missing // 2, missing - missing // 2)
        shortcut = keras.ops.pad(shortcut, ((0, 0), (0, 0), (0, 0), sides))
    return layers.Add()([x, shortcut])
