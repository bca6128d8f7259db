"""The halves of an autoencoder around its latent, and what has logits of that latent."""

import keras
from keras import layers

from keras_aaa.models import autoencoders
from keras_aaa.models.blocks import Shape, logits
from keras_aaa.names import lookup

LATENT = "latent"  # the name of an autoencoder's latent layer
LATENT_CLASSIFIER = "latent_classifier"  # the name of the dense layer that makes logits of it
AUTOENCODERS = {
    builder.__name__: builder
    for builder in (
        autoencoders.conv_dense_autoencoder,
        autoencoders.conv_autoencoder,
        autoencoders.unet,
        autoencoders.pooled_autoencoder,
    )
}


def encoder(autoencoder: keras.Model) -> keras.Model:
    """Return images -> latent, sharing the autoencoder's layers.

    Raises:
        ValueError: if it has no layer named "latent".
    """
    return keras.Model(autoencoder.input, _latent(autoencoder).output)


def decoder(autoencoder: keras.Model) -> keras.Model:
    """Return latent -> reconstruction, sharing the autoencoder's layers.

    Raises:
        ValueError: if it has no layer named "latent", or connections around it (a U-Net).
    """
    try:
        return keras.Model(_latent(autoencoder).output, autoencoder.output)
    except ValueError as error:
        raise ValueError(
            f"autoencoder: {autoencoder.name} has connections around its latent, so that it "
            "cannot be decoded from there alone."
        ) from error


def encoder_classifier(
    autoencoder: str = "unet", input_shape: Shape = (32, 32, 3), classes: int = 10, **sizes
) -> keras.Model:
    """The encoder of an autoencoder, with one dense layer on its latent.

    Trained under attack it learns what the autoencoder has to know of the images, at a fraction of
    the cost, and without a frozen classifier between it and the loss. Of a latent [n, h, w, c] the
    dense layer sees the means over h and w.

    Args:
        autoencoder: its architecture, a name in AUTOENCODERS.
        input_shape: (h, w, c).
        classes: number of logits.
        **sizes: of the autoencoder.

    Raises:
        ValueError: for another architecture; lists those there are.
    """
    built = lookup("autoencoder", autoencoder, AUTOENCODERS)(input_shape=input_shape, **sizes)
    return keras.Model(built.input, _latent_logits(built, classes), name="encoder_classifier")


def two_headed(autoencoder: keras.Model, classes: int) -> keras.Model:
    """Return the autoencoder with logits of its latent, by a new dense layer, as another output.

    As in encoder_classifier, that layer sees the means over h and w of a latent that has them. Its
    name is LATENT_CLASSIFIER.

    Args:
        autoencoder: its layers are shared.
        classes: number of logits.

    Returns:
        keras.Model: images -> (logits [n, classes], reconstruction [n, h, w, c]), float32, in
        joint_network's order.

    Raises:
        ValueError: if the autoencoder has no layer named "latent".
    """
    outputs = [_latent_logits(autoencoder, classes), autoencoder.output]
    return keras.Model(autoencoder.input, outputs, name=f"two_headed_{autoencoder.name}")


def _latent_logits(autoencoder: keras.Model, classes: int):
    latent = _latent(autoencoder).output
    if len(latent.shape) == 4:
        latent = layers.GlobalAveragePooling2D()(latent)
    return logits(latent, classes, LATENT_CLASSIFIER)


def _latent(autoencoder: keras.Model) -> layers.Layer:
    if LATENT not in [layer.name for layer in autoencoder.layers]:
        raise ValueError(f"autoencoder: expected a layer named {LATENT!r} in {autoencoder.name}.")
    return autoencoder.get_layer(LATENT)
