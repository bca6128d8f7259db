"""A changed model is attacked as it is now, not as it was when its graph was traced."""

import dataclasses
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.fast import compilation
from keras_aaa.fast.compilation import compiled
from keras_aaa.fast.fingerprint import fingerprint

IMAGES = np.random.default_rng(0).random((4, 6, 6, 1), np.float32)


def logits(defence):
    return defence


def model():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Normalization(axis=None, mean=0.0, variance=1.0),
            layers.Flatten(),
            layers.Dense(5, activation="relu"),
            layers.Dense(3),
        ]
    )


def change_activation(m):
    m.layers[2].activation = keras.activations.tanh


def change_constant(m):
    m.layers[0].mean = m.layers[0].mean + 0.5


def quantize(m):
    m.quantize("int8", filters="dense.*")


def replace_layer(m):
    m.pop()
    m.add(layers.Dense(3))


@pytest.mark.parametrize(
    "change",
    [change_activation, change_constant, quantize, replace_layer],
    ids=lambda f: f.__name__,
)
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_graph_follows_the_structure(change):
    m = model()
    before = compiled(m, logits)(tf.constant(IMAGES)).numpy()
    change(m)
    after = compiled(m, logits)(tf.constant(IMAGES)).numpy()
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, m(IMAGES), rtol=1e-5, atol=1e-6)


class Scaled:
    def __init__(self, inner):
        self.inner, self.factor = inner, 1.0

    def __call__(self, images):
        return self.factor * self.inner(images)


@dataclasses.dataclass
class NotHashable:
    inner: Scaled

    def __call__(self, images):
        return self.inner(images)


def test_a_graph_follows_attributes_and_variables_that_a_callable_reads():
    scaled, factor = Scaled(model()), 1.0

    def enclosing(images):
        return factor * scaled(images)

    for defence in (scaled, enclosing, NotHashable(scaled.__call__), scaled.__call__):
        before = compiled(defence, logits)(tf.constant(IMAGES))
        scaled.factor *= 2
        np.testing.assert_allclose(
            compiled(defence, logits)(tf.constant(IMAGES)), 2 * before, rtol=1e-5
        )
    before, factor = compiled(enclosing, logits)(tf.constant(IMAGES)), 3.0
    np.testing.assert_allclose(
        compiled(enclosing, logits)(tf.constant(IMAGES)), 3 * before, rtol=1e-5
    )


def test_nothing_is_traced_again_for_new_weights_or_use():
    m = model()
    m.compile("sgd", "sparse_categorical_crossentropy")
    first, made_of = compiled(m, logits), fingerprint(m)
    m.fit(IMAGES, np.zeros(4), verbose=0)
    m.evaluate(IMAGES, np.zeros(4), verbose=0)
    m.predict(IMAGES, verbose=0)
    m.set_weights([1.1 * weight for weight in m.get_weights()])
    keras.Model(m.inputs, m.layers[-2].output)
    assert fingerprint(m) == made_of
    assert compiled(m, logits) is first
    np.testing.assert_allclose(first(tf.constant(IMAGES)), m(IMAGES), rtol=1e-5, atol=1e-6)


def test_the_cache_keeps_no_model_alive():
    defence = Scaled(model())
    compiled(defence, logits)(tf.constant(IMAGES))
    number = id(defence)
    assert number in compilation._entries
    del defence
    gc.collect()
    assert number not in compilation._entries
