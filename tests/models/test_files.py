"""Files of Keras, as .keras and .h5: models that are read, and errors in one line."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_aaa.models import build
from keras_aaa.models.files import read_model
from tests.helpers import HELPERS

# Written by tf_keras 2.21. Nested in one functional model: a functional model with a Conv2D, a
# DepthwiseConv2D, a SeparableConv2D and a Conv2DTranspose, and a Sequential model with a
# SpatialDropout2D, a Flatten and a Dense; before them a RandomFlip.
KERAS_2 = HELPERS.parent / "models" / "files" / "keras2.h5"
# What tf_keras returns for the images of the test.
LOGITS = [
    [0.001755192, 0.008412076, 0.005313623],
    [0.011413291, 0.004554758, 0.004746657],
]


def test_a_nested_model_of_keras_2():
    images = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1)
    model = read_model(KERAS_2)
    np.testing.assert_allclose(model(images, training=False), LOGITS, rtol=1e-4)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["unet", "mixer"])
def test_the_models_of_this_package(name, suffix, tmp_path):
    model = build(name, width=4)
    model.compile("adam", "mse", metrics=["accuracy"])
    model.save(tmp_path / f"mine{suffix}")
    images = np.random.default_rng(0).random((2, *model.input_shape[1:]), np.float32)
    read = read_model(tmp_path / f"mine{suffix}")
    np.testing.assert_allclose(read(images), model(images), atol=1e-6)
    assert not read.compiled


class Mine(layers.Layer):
    def call(self, x):
        return x


def my_activation(x):
    return x


def with_layer(layer):
    return keras.Sequential([keras.Input((4, 4, 1)), layer, layers.Flatten(), layers.Dense(3)])


BAD = {
    "class": (with_layer(Mine()), "'Mine', which is not registered.*model.export"),
    "function": (with_layer(layers.Conv2D(1, 1, activation=my_activation)), "'my_activation'"),
    "lambda": (with_layer(layers.Lambda(lambda x: 2 * x)), "Lambda layer, whose Python code"),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", BAD)
def test_a_model_that_keras_cannot_rebuild_is_one_line(kind, suffix, tmp_path):
    model, message = BAD[kind]
    path = tmp_path / f"mine{suffix}"
    model.save(path)
    with pytest.raises(ValueError, match=message) as raised:
        read_model(path)
    text = str(raised.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < len(str(path)) + 350


def test_an_operation_outside_layers_is_said(tmp_path):
    images = keras.Input((4, 4, 1))
    padded = keras.ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(padded)))
    model.save(tmp_path / "mine.keras")
    assert read_model(tmp_path / "mine.keras").output_shape == (None, 3)
    model.save(tmp_path / "mine.h5")
    with pytest.raises(ValueError, match=r"operation outside any layer, Pad.*save it as \.keras"):
        read_model(tmp_path / "mine.h5")


def test_a_file_of_weights_is_said(tmp_path):
    with_layer(layers.Identity()).save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(ValueError, match=r"weights without a model; save the whole model"):
        read_model(tmp_path / "mine.weights.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_that_is_missing_or_of_another_kind(suffix, tmp_path):
    path = tmp_path / f"mine{suffix}"
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        read_model(path)
    path.write_text("nothing")
    with pytest.raises(ValueError, match=f"is not a {suffix} file, or it is incomplete"):
        read_model(path)
