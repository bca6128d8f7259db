"""MLP-Mixer, which unlike the papers' classifiers uses a convolution only to embed patches."""

import keras
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.blocks import Shape, checked, image_input, logits


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
