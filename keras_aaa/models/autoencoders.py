"""The autoencoders of both papers, and Revisiting's network that also classifies."""

import keras
from keras import layers

from keras_aaa.models import channels_last
from keras_aaa.models.blocks import Shape, checked, conv, conv_bn, image_input, logits, pixels


def conv_dense_autoencoder(
    input_shape: Shape = (28, 28, 1), latent: int = 1024, width: int = 32
) -> keras.Model:
    """MNIST autoencoder: two convolutions, two dense layers, two deconvolutions.

    Paper: AAA Table 11, "Auto-encoder". The table gives a latent size of 1024, the text 128.
    The layer named "latent" outputs the latent vectors, float32 or bfloat16 [n, latent].

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        latent: size of the latent vector.
        width: filters of the first convolution; the second has twice as many.
    """
    inputs = image_input(input_shape, divisible_by=4)
    rows, columns = input_shape[0] // 4, input_shape[1] // 4
    x = conv(checked(inputs), width, stride=2)
    x = conv(x, 2 * width, stride=2)
    x = channels_last.Flatten()(x)
    x = layers.Dense(latent, name="latent")(x)
    x = layers.Dense(rows * columns * 2 * width, activation="relu")(x)
    x = layers.Reshape((rows, columns, 2 * width))(x)
    x = channels_last.Conv2DTranspose(width, 3, 2, padding="same", activation="relu")(x)
    x = channels_last.Conv2DTranspose(input_shape[-1], 3, 2, padding="same")(x)
    return keras.Model(inputs, pixels(x), name="conv_dense_autoencoder")


def conv_autoencoder(input_shape: Shape = (28, 28, 1), width: int = 32) -> keras.Model:
    """Fashion-MNIST autoencoder: 15 convolutions, two max-poolings, two upsamplings.

    Paper: AAA Table 12, "Auto-encoder". The layer "latent" outputs [n, h/4, w/4, 8 * width].

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        width: filters of the first block (32 in the paper).
    """
    inputs = image_input(input_shape, divisible_by=4)
    x = conv_bn(checked(inputs), width)
    x = channels_last.MaxPooling2D()(x)
    x = conv_bn(x, 2 * width)
    x = channels_last.MaxPooling2D()(x)
    x = conv_bn(x, 4 * width)
    x = layers.Identity(name="latent")(conv_bn(x, 8 * width))
    x = conv_bn(x, 4 * width)
    x = conv_bn(x, 2 * width)
    x = channels_last.UpSampling2D()(x)
    x = conv_bn(x, width)
    x = channels_last.UpSampling2D()(x)
    x = conv(x, input_shape[-1], activation=None)
    return keras.Model(inputs, pixels(x), name="conv_autoencoder")


def unet(input_shape: Shape = (32, 32, 3), width: int = 64) -> keras.Model:
    """CIFAR-10 U-Net: four blocks down, three up with skip connections.

    Paper: AAA Table 13, first column. The table omits the max-poolings that its text counts.

    Args:
        input_shape: (h, w, c), h and w divisible by 8.
        width: filters of the first block (64 in the paper).
    """
    inputs = image_input(input_shape, divisible_by=8)
    x = checked(inputs)
    skips = []
    for filters in (width, 2 * width, 4 * width):
        x = conv_bn(x, filters)
        skips.append(x)
        x = channels_last.MaxPooling2D()(x)
    x = layers.Identity(name="latent")(conv_bn(x, 4 * width))
    for filters, skip in zip((4 * width, 2 * width, width), reversed(skips), strict=True):
        x = layers.Concatenate()([channels_last.UpSampling2D()(x), skip])
        x = conv_bn(x, filters)
    x = conv(x, input_shape[-1], kernel=1, activation=None)
    return keras.Model(inputs, pixels(x), name="unet")


def pooled_autoencoder(input_shape: Shape = (28, 28, 1), width: int = 16) -> keras.Model:
    """Plain autoencoder: three convolutions with two poolings, then the mirrored decoder.

    Paper: Revisiting, section 2 and Figure 1: "3 convolution layers with 2 pooling layers and 3
    convolution layers with 2 transposed layers". The paper does not print the numbers of filters;
    these are our choice. The layer named "latent" outputs [n, h/4, w/4, width].

    Args:
        input_shape: (h, w, c), h and w divisible by 4.
        width: filters of the first and the latent convolution; the one between has twice as many.
    """
    inputs = image_input(input_shape, divisible_by=4)
    latent = pooled_encoder(inputs, width)
    outputs = pooled_decoder(latent, input_shape[-1], width)
    return keras.Model(inputs, outputs, name="pooled_autoencoder")


def pooled_encoder(inputs, width: int):
    """Return the latent [n, h/4, w/4, width] of images: the first half of pooled_autoencoder.

    Args:
        inputs: Keras tensor of images [n, h, w, c].
        width: filters of the first and the latent convolution.
    """
    x = channels_last.MaxPooling2D()(conv(checked(inputs), width))
    x = channels_last.MaxPooling2D()(conv(x, 2 * width))
    return layers.Identity(name="latent")(conv(x, width))


def pooled_decoder(latent, channels: int, width: int):
    """Return the images decoded from a latent: the second half of pooled_autoencoder.

    Args:
        latent: Keras tensor [n, h/4, w/4, width].
        channels: channels of the images.
        width: filters of the first and the last hidden layer.
    """
    x = conv(latent, width)
    x = channels_last.Conv2DTranspose(2 * width, 3, 2, padding="same", activation="relu")(x)
    x = conv(x, 2 * width)
    x = channels_last.Conv2DTranspose(width, 3, 2, padding="same", activation="relu")(x)
    # The first outputs are dark. Mid-grey outputs start far from MNIST's black background: all
    # layers drift there together and end where the sigmoid's gradient is 0 (in all nine runs).
    dark = keras.initializers.Constant(-2.0)
    return pixels(channels_last.Conv2D(channels, 3, padding="same", bias_initializer=dark)(x))


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
