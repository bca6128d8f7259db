"""Fast copies compute what their models compute, and are made of those that lose nothing by it."""

import keras
import numpy as np
import pytest
from keras import layers

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


def adapted():
    normalization = layers.Normalization()
    normalization.adapt(IMAGES)
    return [normalization, layers.Flatten(), layers.Dense(10)]


def quantized():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    model.quantize("int8", filters="dense.*")
    return model.layers


def with_lora():
    dense = layers.Dense(10)
    dense.build((None, 64))
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones((2, 10)))
    return [layers.Flatten(), dense]


def changed_later():
    dense = layers.Dense(10)
    dense.activation = keras.activations.tanh
    return [layers.Flatten(), dense]


@keras.saving.register_keras_serializable("tests")
class Factor(layers.Layer):
    factor = 2.0

    def call(self, x):
        return self.factor * x


def with_an_attribute():
    layer = Factor()
    layer.factor = 7.0  # its config does not say so
    return [layer, layers.Flatten(), layers.Dense(10)]


IMAGES = 0.7 + 0.1 * np.random.default_rng(0).random((16, 8, 8, 1), np.float32)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("precision, tolerance", [("bfloat16", 0.05), ("float32", 1e-4)])
@pytest.mark.parametrize(
    "make",
    [adapted, quantized, with_lora, changed_later, with_an_attribute],
    ids=lambda f: f.__name__,
)
def test_a_copy_keeps_what_is_outside_configs_and_variables(make, precision, tolerance):
    model = keras.Sequential([keras.Input((8, 8, 1)), *make()])
    expected, found = model(IMAGES).numpy(), fast_copy(model, precision)(IMAGES).numpy()
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


class Noise(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


def test_a_copy_that_differs_is_not_used():
    model = keras.Sequential([keras.Input((8, 8, 1)), Noise(), layers.Flatten(), layers.Dense(10)])
    with pytest.warns(UserWarning, match="is used itself, .* differs from it by"):
        assert fast_copy(model, "bfloat16", images=IMAGES) is model


def test_a_model_that_takes_one_batch_size_is_copied():
    inputs = keras.Input(batch_shape=(2, 8, 8, 1))
    model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(inputs)))
    copy = fast_copy(model, "bfloat16", images=IMAGES)
    np.testing.assert_allclose(copy(IMAGES[:2]), model(IMAGES[:2]), atol=0.05)
