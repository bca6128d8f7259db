"""The architectures by name, as used on command lines and in the zoo's cards."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import keras

from keras_aaa.checks import lookup
from keras_aaa.models import autoencoders, classifiers, deep_classifiers, surgery

ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "conv_dense_autoencoder": autoencoders.conv_dense_autoencoder,
    "conv_autoencoder": autoencoders.conv_autoencoder,
    "unet": autoencoders.unet,
    "pooled_autoencoder": autoencoders.pooled_autoencoder,
    "madry": classifiers.madry,
    "cnn": classifiers.cnn,
    "fc": classifiers.fc,
    "dnn": classifiers.dnn,
    "resnet": deep_classifiers.narrow_resnet,
    "resnet110": deep_classifiers.resnet110,
    "vgg16": deep_classifiers.vgg16,
    "vgg19": deep_classifiers.vgg19,
    "lenet5": classifiers.lenet5,
    "lenet_like": classifiers.lenet_like,
    "mixer": classifiers.mlp_mixer,
    "encoder_classifier": surgery.encoder_classifier,
    "joint_network": autoencoders.joint_network,
    "latent_classifier": autoencoders.latent_classifier,
}


@dataclass(frozen=True)
class ModelConfig:
    """An architecture and its sizes, from which a model is built; zoo cards store it.

    Args:
        architecture: a name in ARCHITECTURES.
        sizes: the builder's arguments (input_shape, width, latent, ...).
        name: the model's name in the zoo; empty for a model without one.

    Example:
        ModelConfig("fc", {"hidden": (256, 256)}).build(input_shape=(28, 28, 1))
    """

    architecture: str
    sizes: dict = field(default_factory=dict)
    name: str = ""

    def with_sizes(self, **sizes) -> "ModelConfig":
        """Return the same configuration with these sizes added or changed."""
        return replace(self, sizes={**self.sizes, **sizes})

    def build(self, *, dtype: str = "float32", **sizes) -> keras.Model:
        """Build an untrained model with `build`; `sizes` are added to the configuration's sizes."""
        return build(self.architecture, dtype=dtype, **{**self.sizes, **sizes})


def build(architecture: str, *, dtype: str = "float32", **sizes) -> keras.Model:
    """Build an untrained model.

    Args:
        architecture: a name in ARCHITECTURES.
        dtype: Keras dtype policy of the layers ("float32" or "mixed_bfloat16"); the weights and
            the output are float32 under both.
        **sizes: the builder's arguments (input_shape, width, latent, ...).

    Returns:
        A functional keras.Model: images float32 [n, h, w, c] in [0, 1] -> logits [n, classes]
        or reconstruction [n, h, w, c], float32. joint_network returns both.

    Raises:
        ValueError: for an unknown architecture, or sizes that it does not support.
        TypeError: for an argument that the builder does not have.
    """
    builder = lookup("architecture", architecture, ARCHITECTURES)
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        return builder(**sizes)
    finally:
        keras.config.set_dtype_policy(previous)
