"""Models whose robust accuracy cannot be trusted are named, without being asked."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa import ThreatModel
from keras_aaa.evaluation import AutoAttack, PgdTest, attack_all, autoattack, survive_pgd
from keras_aaa.evaluation.doubts import BATCH, Doubt, doubts

RNG = np.random.default_rng(0)
IMAGES = RNG.random((BATCH + 5, 6, 6, 1), np.float32)
THREAT = ThreatModel("linf", 0.05)
FEW = AutoAttack(steps=2, targets=1, queries=2)


@pytest.fixture
def classifier():
    return keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(4)])


def rounded(m):
    return lambda x: m(tf.round(4 * x) / 4)


def random(m):
    return lambda x: m(x) + tf.random.normal([4])


def probabilities(m):
    return lambda x: tf.nn.softmax(m(x))


def broken_gradient(m):
    return lambda x: m(x) + tf.sqrt(tf.nn.relu(x[:, :1, 0, 0] - 0.9))


SUSPICIOUS = {
    rounded: "zero for 100.0%",
    random: "the defence is random",
    probabilities: "are probabilities",
    broken_gradient: "not finite for [1-9]",
}


@pytest.mark.parametrize("defence", SUSPICIOUS, ids=lambda f: f.__name__)
def test_every_evaluation_warns_once(defence, classifier):
    labels = np.argmax(classifier(IMAGES), axis=-1)
    for evaluate in (
        lambda m: autoattack(m, IMAGES, labels, threat=THREAT, settings=FEW),
        lambda m: attack_all(m, "fgsm", IMAGES, labels, threat=THREAT),
        lambda m: survive_pgd(m, IMAGES, labels, threat=THREAT, test=PgdTest((1,), 0.02)),
    ):
        model = defence(classifier)
        with pytest.warns(Doubt, match=SUSPICIOUS[defence]):
            evaluate(model)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Doubt)
            attack_all(model, "fgsm", IMAGES, labels, threat=THREAT)


def test_a_sound_model_gives_no_warning(classifier):
    labels = np.argmax(classifier(IMAGES), axis=-1)
    for sound in (classifier, lambda x: 1e5 * classifier(x)):  # confidence hides nothing
        assert [e.warning for e in doubts(sound, IMAGES, labels)] == [None] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", Doubt)
        attack_all(classifier, "fgsm", IMAGES, labels, threat=THREAT)


@tf.custom_gradient
def backwards(x):
    return x, lambda upstream: -upstream


def test_square_that_beats_the_gradient_attacks_is_named(classifier):
    """Gradients that point the wrong way leave everything to Square."""

    def masked(x):
        return classifier(backwards(x))

    images = 0.25 + IMAGES / 2
    labels = np.argmax(masked(images), axis=-1)
    with pytest.warns(Doubt, match="Square, which uses no gradient, took"):
        result = autoattack(
            masked,
            images,
            labels,
            threat=ThreatModel("linf", 0.2),
            settings=AutoAttack(steps=5, targets=1, queries=200),
        )
    assert result["square"].mean() < result["fab_t"].mean()


@tf.custom_gradient
def without_gradient_at_one(x):
    return x, lambda upstream: tf.where(x == 1.0, np.nan, upstream)


def test_an_example_without_a_finite_gradient_counts_as_misclassified_under_attack(classifier):
    """Attacks that skip it would leave 100 %."""
    images = IMAGES / 2
    images[3, 0, 0] = 1.0

    def defence(x):
        return classifier(without_gradient_at_one(x))

    labels = np.argmax(defence(images), axis=-1)
    tiny = ThreatModel("linf", 1e-7)
    with pytest.warns(Doubt, match="gradients of 1 of .* examples are not finite"):
        result = autoattack(defence, images, labels, threat=tiny, settings=FEW)
    masks = survive_pgd(defence, images, labels, threat=tiny, test=PgdTest((1,), 1e-8))
    for clean, attacked in ((result["clean"], result["square"]), (masks[None], masks[1])):
        assert clean.all()
        assert np.flatnonzero(~attacked).tolist() == [3]
