"""A classifier and an autoencoder that share an encoder. Paper: Revisiting, Figure 3."""

import keras

from keras_aaa.models import channels_last
from keras_aaa.models.autoencoders import pooled_decoder, pooled_encoder
from keras_aaa.models.blocks import Shape, image_input, logits


def joint_network(
    input_shape: Shape = (28, 28, 1), classes: int = 10, width: int = 16
) -> keras.Model:
    """Network that classifies the latent features and also reconstructs the images.

    Paper: Revisiting, Figure 3 and section 3.2. The encoder and the decoder are the same as in
    pooled_autoencoder. The classification layer is one dense layer.

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        classes: number of logits.
        width: filters of the first and the latent convolution.

    Returns:
        keras.Model: images -> (logits [n, classes], reconstruction [n, h, w, c]), float32.
    """
    inputs = image_input(input_shape, divisible_by=4)
    latent = pooled_encoder(inputs, width)
    outputs = [
        logits(channels_last.Flatten()(latent), classes),
        pooled_decoder(latent, input_shape[-1], width),
    ]
    return keras.Model(inputs, outputs, name="joint_network")


def latent_classifier(
    input_shape: Shape = (28, 28, 1), classes: int = 10, width: int = 16
) -> keras.Model:
    """The classifying half of joint_network: images -> logits.

    It takes the same arguments as joint_network.
    Paper: Revisiting, Figure 3.
    """
    inputs = image_input(input_shape, divisible_by=4)
    latent = pooled_encoder(inputs, width)
    return keras.Model(
        inputs, logits(channels_last.Flatten()(latent), classes), name="latent_classifier"
    )


def classifying_half(joint: keras.Model) -> keras.Model:
    """Return images -> logits of a model with two outputs, sharing its weights."""
    return keras.Model(joint.input, joint.outputs[0], name=f"{joint.name}_classifier")


def reconstructing_half(joint: keras.Model) -> keras.Model:
    """Return images -> reconstruction of a model with two outputs, sharing its weights."""
    return keras.Model(joint.input, joint.outputs[1], name=f"{joint.name}_autoencoder")
