"""Logits from models that end in a softmax of any spelling, or in a single output."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.attacks import fgsm
from keras_aaa.models import as_logits, of_probabilities, two_classes
from keras_aaa.models.probabilities import ends_in_softmax
from keras_aaa.threat_model import ThreatModel

IMAGES = np.random.default_rng(0).random((5, 6, 6, 1), np.float32)
LABELS = np.arange(5) % 3


def base():
    return keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3)])


def through_an_operation(logits):
    return keras.Model(logits.inputs[0], keras.ops.softmax(logits.outputs[0]))


ENDINGS = {
    "Softmax": lambda m: keras.Sequential([m, layers.Softmax()]),
    "keras.activations": lambda m: keras.Sequential([m, layers.Activation("softmax")]),
    "keras.ops": lambda m: keras.Sequential([m, layers.Activation(keras.ops.softmax)]),
    "tf.nn": lambda m: keras.Sequential([m, layers.Activation(tf.nn.softmax)]),
    "Lambda": lambda m: keras.Sequential([m, layers.Lambda(tf.nn.softmax)]),
    "an operation": through_an_operation,
    "nested": lambda m: keras.Sequential([through_an_operation(m)]),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_softmax_is_found_and_removed(ending):
    logits = base()
    model = ENDINGS[ending](logits)
    assert ends_in_softmax(model)
    assert not ends_in_softmax(logits)
    with pytest.warns(UserWarning, match="ends in softmax; its logits are used instead"):
        found = as_logits(model)
    np.testing.assert_allclose(found(IMAGES), logits(IMAGES), atol=1e-6)


@pytest.mark.parametrize("function", [keras.ops.softmax, tf.nn.softmax, "softmax"])
def test_a_softmax_inside_the_last_dense_layer_is_removed(function):
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3, activation=function)]
    )
    with pytest.warns(UserWarning, match="ends in softmax"):
        logits = as_logits(model)
    np.testing.assert_allclose(tf.nn.softmax(logits(IMAGES)), model(IMAGES), atol=1e-6)


def test_attacks_warn_of_probabilities_that_a_callable_returns():
    logits, threat = base(), ThreatModel("linf", 0.1)

    def probabilities(images):
        return tf.nn.softmax(logits(images))

    with pytest.warns(UserWarning, match="are probabilities, not logits"):
        fgsm(probabilities, IMAGES, LABELS, threat=threat)
    np.testing.assert_array_equal(
        fgsm(of_probabilities(probabilities), IMAGES, LABELS, threat=threat),
        fgsm(logits, IMAGES, LABELS, threat=threat),
    )


@pytest.mark.parametrize("ending", ["sigmoid", tf.nn.sigmoid, keras.ops.sigmoid])
def test_a_binary_classifier_becomes_one_of_two_classes(ending):
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(1, activation=ending)]
    )
    expected = model(IMAGES)[:, 0]
    for both in (
        two_classes(model),
        two_classes(model, probabilities=True),
        two_classes(lambda images: model(images), probabilities=True),
    ):
        assert both(IMAGES).shape == (5, 2)
        np.testing.assert_allclose(tf.nn.softmax(both(IMAGES))[:, 1], expected, atol=1e-6)
    logit = keras.Sequential([model.layers[0], layers.Dense(1)])
    logit.build((None, 6, 6, 1))
    both = two_classes(logit)(IMAGES)
    np.testing.assert_allclose(both[:, 1] - both[:, 0], logit(IMAGES)[:, 0], atol=1e-6)
