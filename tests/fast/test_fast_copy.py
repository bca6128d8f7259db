"""Fast copies compute what their models compute, and are made of those that lose nothing by it."""

import keras
import numpy as np
import pytest

from keras_aaa.fast.fast_copy import FastCopy, fast_copy
from keras_aaa.models import ARCHITECTURES, build, defend

# The joint network has two outputs; it is attacked by its half.
OF_ONE_OUTPUT = [name for name in ARCHITECTURES if name != "joint_network"]


@pytest.mark.parametrize("precision, tolerance", [("bfloat16", 0.05), ("float32", 1e-4)])
@pytest.mark.parametrize("name", OF_ONE_OUTPUT)
def test_a_copy_follows_the_model(name, precision, tolerance):
    # Untrained, a hundred layers that add up make rounding as large as the logits.
    model = build(name, **({"units": 3} if name == "resnet110" else {}))
    images = np.random.default_rng(0).random((4, *model.input_shape[1:]), np.float32)
    copy = FastCopy(model, precision)
    for _ in range(2):
        expected, found = model(images, training=False).numpy(), copy(images).numpy()
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
        for weight in model.trainable_weights:  # the copy must see the new weights
            weight.assign(1.1 * weight)


def test_a_copy_reaches_into_nested_models(small_autoencoder, small_classifier, digits):
    defended = defend(small_autoencoder, small_classifier)
    exact, rounded = defended(digits[0]), FastCopy(defended, "bfloat16")(digits[0])
    assert 0 < np.abs(exact - rounded).max() < 0.05


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    def call(self, images):
        return 2 * images


@pytest.mark.parametrize(
    "layer, copied",
    [
        (keras.layers.ReLU(), True),
        (Doubled(), False),
        (keras.layers.Lambda(lambda images: 2 * images), False),
        (keras.Sequential([Doubled()]), False),
    ],
)
def test_a_model_with_layers_of_its_own_kind_is_copied_in_bfloat16_alone(layer, copied):
    model = keras.Sequential([keras.Input((4, 4, 1)), layer, keras.layers.Flatten()])
    assert (fast_copy(model, "float32") is not model) == copied


def test_what_is_no_model_is_crafted_on_itself_or_refused():
    def logits(images):
        return images[:, 0, 0]

    assert fast_copy(logits, "float32") is logits
    with pytest.raises(ValueError, match=r"only a keras\.Model can be copied"):
        fast_copy(logits, "bfloat16")
    with pytest.raises(ValueError, match="Unknown precision"):
        fast_copy(keras.Sequential(), "float16")
