"""Each architecture against its paper's table, layer for layer, counted by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_aaa.fast.precision import choose_precision
from keras_aaa.models import ARCHITECTURES, build


def table(model):
    """The layers that compute something, in the paper's notation filters-kernel-stride."""
    lines = []
    for layer in model.layers:
        if isinstance(layer, layers.Conv2DTranspose):
            lines.append(f"deconv {layer.filters}-{layer.kernel_size[0]}-{layer.strides[0]}")
        elif isinstance(layer, layers.Conv2D):
            lines.append(f"conv {layer.filters}-{layer.kernel_size[0]}-{layer.strides[0]}")
        elif isinstance(layer, layers.Dense):
            lines.append(f"dense {layer.units}")
        elif isinstance(layer, layers.MaxPooling2D):
            lines.append("max-pool")
        elif isinstance(layer, layers.UpSampling2D):
            lines.append("upsample")
        elif isinstance(layer, layers.Concatenate):
            lines.append("concat")
        elif isinstance(layer, layers.Dropout):
            lines.append(f"dropout {layer.rate}")
    return lines


def conv(inputs, outputs, kernel=3):
    return kernel * kernel * inputs * outputs + outputs


def conv_bn(inputs, outputs, kernel=3):
    return kernel * kernel * inputs * outputs + 4 * outputs


def dense(inputs, outputs):
    return inputs * outputs + outputs


TABLES = {
    "conv_dense_autoencoder": [
        "conv 32-3-2", "conv 64-3-2", "dense 1024", "dense 3136", "deconv 32-3-2", "deconv 1-3-2",
    ],
    "madry": ["conv 32-3-1", "max-pool", "conv 64-3-1", "max-pool", "dense 1024", "dense 10"],
    "fc": ["dense 256", "dense 256", "dense 10"],
    "conv_autoencoder": (
        ["conv 32-3-1"] * 2 + ["max-pool"] + ["conv 64-3-1"] * 2 + ["max-pool"]
        + ["conv 128-3-1"] * 2 + ["conv 256-3-1"] * 2 + ["conv 128-3-1"] * 2 + ["conv 64-3-1"] * 2
        + ["upsample"] + ["conv 32-3-1"] * 2 + ["upsample", "conv 1-3-1"]
    ),
    "cnn": (
        ["conv 32-3-1"] * 2 + ["max-pool"] + ["conv 64-3-1"] * 2
        + ["max-pool", "dense 1024", "dense 10"]
    ),
    "unet": (
        ["conv 64-3-1"] * 2 + ["max-pool"] + ["conv 128-3-1"] * 2 + ["max-pool"]
        + ["conv 256-3-1"] * 2 + ["max-pool"] + ["conv 256-3-1"] * 2
        + ["upsample", "concat"] + ["conv 256-3-1"] * 2
        + ["upsample", "concat"] + ["conv 128-3-1"] * 2
        + ["upsample", "concat"] + ["conv 64-3-1"] * 2 + ["conv 3-1-1"]
    ),
    "dnn": [
        "conv 32-3-1", "conv 64-3-1", "max-pool", "dropout 0.5", "conv 128-3-1", "max-pool",
        "conv 128-2-1", "max-pool", "dropout 0.5", "dense 1500", "dropout 0.5", "dense 10",
    ],
    # Revisiting, section 2: three convolutions with two poolings, three with two transposed.
    "pooled_autoencoder": [
        "conv 16-3-1", "max-pool", "conv 32-3-1", "max-pool", "conv 16-3-1",
        "conv 16-3-1", "deconv 32-3-2", "conv 32-3-1", "deconv 16-3-2", "conv 1-3-1",
    ],
    "lenet5": [
        "conv 6-5-1", "max-pool", "conv 16-5-1", "max-pool", "dense 120", "dense 84", "dense 10",
    ],
    "lenet_like": [
        "conv 20-5-1", "max-pool", "conv 50-5-1", "max-pool", "dense 500", "dense 10",
    ],
}  # fmt: skip

FLAT = 7 * 7 * 64
POOLED_ENCODER = conv(1, 16) + conv(16, 32) + conv(32, 16)
POOLED_DECODER = conv(16, 16) + conv(16, 32) + conv(32, 32) + conv(32, 16) + conv(16, 1)
# Classifiers and autoencoders; the joint network is both, and is attacked by its half.
OF_ONE_OUTPUT = [name for name in ARCHITECTURES if name != "joint_network"]
PARAMETERS = {
    "conv_dense_autoencoder": (
        conv(1, 32) + conv(32, 64) + dense(FLAT, 1024) + dense(1024, FLAT)
        + conv(64, 32) + conv(32, 1)
    ),
    "madry": conv(1, 32) + conv(32, 64) + dense(FLAT, 1024) + dense(1024, 10),
    "fc": dense(784, 256) + dense(256, 256) + dense(256, 10),
    "conv_autoencoder": (
        sum(
            conv_bn(a, b) + conv_bn(b, b)
            for a, b in [(1, 32), (32, 64), (64, 128), (128, 256), (256, 128), (128, 64), (64, 32)]
        )
        + conv(32, 1)
    ),
    "cnn": (
        conv(1, 32) + conv(32, 32) + conv(32, 64) + conv(64, 64)
        + dense(FLAT, 1024) + dense(1024, 10)
    ),
    "unet": (
        sum(
            conv_bn(a, b) + conv_bn(b, b)
            for a, b in [
                (3, 64), (64, 128), (128, 256), (256, 256),
                (256 + 256, 256), (256 + 128, 128), (128 + 64, 64),
            ]
        )
        + conv(64, 3, kernel=1)
    ),
    "dnn": (
        conv(3, 32) + conv(32, 64) + conv(64, 128) + conv(128, 128, kernel=2)
        + dense(4 * 4 * 128, 1500) + dense(1500, 10)
    ),
    # Sixteen convolutions with batch normalisation, two hidden dense layers of 512.
    "vgg19": (
        conv_bn(3, 64) + conv_bn(64, 64) + conv_bn(64, 128) + conv_bn(128, 128)
        + conv_bn(128, 256) + 3 * conv_bn(256, 256) + conv_bn(256, 512) + 7 * conv_bn(512, 512)
        + 2 * dense(512, 512) + dense(512, 10)
    ),
    "vgg16": (
        conv_bn(3, 64) + conv_bn(64, 64) + conv_bn(64, 128) + conv_bn(128, 128)
        + conv_bn(128, 256) + 2 * conv_bn(256, 256) + conv_bn(256, 512) + 5 * conv_bn(512, 512)
        + 2 * dense(512, 512) + dense(512, 10)
    ),
    "lenet5": (
        conv(1, 6, 5) + conv(6, 16, 5) + dense(5 * 5 * 16, 120) + dense(120, 84) + dense(84, 10)
    ),
    "lenet_like": (
        conv(1, 20, 5) + conv(20, 50, 5) + dense(4 * 4 * 50, 500) + dense(500, 10)
    ),
    "pooled_autoencoder": POOLED_ENCODER + POOLED_DECODER,
    "joint_network": POOLED_ENCODER + POOLED_DECODER + dense(7 * 7 * 16, 10),
    "encoder_classifier": sum(
        conv_bn(a, b) + conv_bn(b, b) for a, b in [(3, 64), (64, 128), (128, 256), (256, 256)]
    )
    + dense(256, 10),
    "latent_classifier": POOLED_ENCODER + dense(7 * 7 * 16, 10),
    # First convolution; 54 units of two convolutions; no weights in the shortcuts.
    "resnet110": (
        conv_bn(3, 16) + 36 * conv_bn(16, 16) + conv_bn(16, 32) + 35 * conv_bn(32, 32)
        + conv_bn(32, 64) + 35 * conv_bn(64, 64) + dense(64, 10)
    ),
    # First convolution; per unit two convolutions, each after a batch normalisation of its input.
    "resnet": (
        9 * 3 * 16
        + sum(
            5 * (9 * b * b + 4 * b) + 9 * a * b + 4 * a + 4 * (9 * b * b + 4 * b)
            for a, b in [(16, 16), (16, 32), (32, 64)]
        )
        + 4 * 64 + dense(64, 10)
    ),
    "mixer": (
        conv(1, 64, kernel=4)
        + 4 * (2 * 128 + dense(49, 64) + dense(64, 49) + dense(64, 128) + dense(128, 64))
        + 128 + dense(64, 10)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_layers_are_the_tables(name):
    assert table(build(name)) == TABLES[name]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_are_those_counted_by_hand(name):
    assert build(name).count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", OF_ONE_OUTPUT)
@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", pytest.param("float32", marks=pytest.mark.slow)]
)
def test_outputs_are_float32_logits_or_pixels(name, policy):
    model = build(name, dtype=policy)
    images = np.random.default_rng(0).random((2, *model.input_shape[1:]), np.float32)
    output = model(images).numpy()
    assert output.dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"
    if output.ndim == 4:
        assert output.shape == images.shape
        assert output.min() >= 0 and output.max() <= 1
    else:
        assert output.shape == (2, 10)
        assert model.layers[-1].name == "logits"


def test_only_the_last_deconvolution_and_the_latent_have_no_relu():
    model = build("conv_dense_autoencoder", latent=16)
    activations = {
        layer.name: layer.activation.__name__
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose | layers.Dense)
    }
    linear = [name for name, activation in activations.items() if activation == "linear"]
    assert len(linear) == 2 and "latent" in linear
    assert set(activations.values()) == {"relu", "linear"}
    assert model.get_layer("latent").output.shape == (None, 16)


def test_resnet_normalises_each_image_itself():
    model = build("resnet")
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    np.testing.assert_allclose(model(images), model(0.5 * images + 0.2), atol=1e-3)


@pytest.mark.parametrize("name", ["madry", "conv_dense_autoencoder"])
def test_a_keras_call_refuses_what_is_no_image(name, digits):
    model, images = build(name), digits[0][:2]
    for bad, message in (
        (255 * images, r"expected finite values in \[0, 1\], received 0 to 255"),
        (images - 0.5, "received -0.5 to 0.5"),
        (images * np.nan, "expected finite"),
        (images[:, :20], r"expected shape=\(None, 28, 28, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model(bad)


def test_synchronised_batch_normalisation_everywhere():
    for name in ARCHITECTURES:
        for layer in build(name).layers:
            if isinstance(layer, layers.BatchNormalization):
                assert layer.synchronized


def test_bad_sizes_and_names_are_refused():
    with pytest.raises(ValueError, match="divisible by 8"):
        build("unet", input_shape=(28, 28, 1))
    with pytest.raises(ValueError, match="Did you mean 'unet'"):
        build("u_net")
    with pytest.raises(TypeError, match="widht"):
        build("unet", widht=8)


def test_precision_by_name():
    assert choose_precision("float32") == "float32"
    assert choose_precision("auto") in ("float32", "bfloat16")
    with pytest.raises(ValueError, match="Unknown precision"):
        choose_precision("float16")


@pytest.mark.slow
def test_pooled_autoencoder_learns_digits(digits):
    images, _ = digits
    model = build("pooled_autoencoder")
    model.compile("adam", "mse")
    loss = model.fit(images, images, batch_size=32, epochs=75, verbose=0).history["loss"][-1]
    # Black everywhere is the trap; the mean colour is not better by much.
    assert loss < 0.5 * np.mean(np.square(images))
