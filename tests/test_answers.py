"""Models that answer with something else than logits are refused; every kind of logits works."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa import ThreatModel
from keras_aaa.attacks import ATTACKS, apgd, fab, pgd
from keras_aaa.evaluation import AutoAttack, attack_all, autoattack, correct, resists
from tests.helpers.small_attacks import SETTINGS

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 8, 8, 1), np.float32)
LABELS = RNG.integers(0, 10, 6)
THREAT = ThreatModel("linf", 0.1)


@pytest.fixture
def classifier():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_takes_logits_of_every_floating_point_type(name, dtype, classifier):
    attack = ATTACKS[name]
    threat = ThreatModel("l2", 1.0) if name in ("carlini_wagner", "deepfool") else THREAT
    inputs = keras.Input((8, 8, 1))
    outputs = layers.Dense(10, dtype=dtype)(layers.Flatten()(inputs))
    for model in (keras.Model(inputs, outputs), lambda x: tf.cast(classifier(x), dtype)):
        x_adv = attack(model, IMAGES, LABELS, threat=threat, **SETTINGS[name])
        assert x_adv.dtype == tf.float32
        assert threat.contains(x_adv, IMAGES).all()


REFUSED = {
    "a name": (lambda m: "mnist_madry", TypeError, "expected a keras.Model or a callable"),
    "nothing": (lambda m: None, TypeError, "got None"),
    "a dict": (lambda m: lambda x: {"a": m(x), "b": m(x)}, TypeError, r"'a', 'b'.*\['a'\]"),
    "a list": (lambda m: lambda x: [m(x), m(x)], TypeError, "one output, the logits, got 2"),
    "NumPy": (lambda m: lambda x: np.zeros((len(x), 10)), TypeError, "got ndarray"),
    "classes": (lambda m: lambda x: tf.argmax(m(x), -1), TypeError, "floating-point logits"),
    "rank 3": (lambda m: lambda x: m(x)[:, None], ValueError, r"got \(6, 1, 10\)"),
    "another size": (lambda m: lambda x: m(x)[:2], ValueError, r"\(6, classes\), got \(2, 10\)"),
    "one output": (lambda m: lambda x: m(x)[:, :1], ValueError, "two_classes"),
    "a binary model": (
        lambda m: keras.Sequential([m, layers.Dense(1, activation="sigmoid")]),
        ValueError,
        "two_classes",
    ),
    "NaN": (lambda m: lambda x: m(x) * np.nan, ValueError, "NaN or infinity for 6 of the first 6"),
    "infinity": (lambda m: lambda x: m(x) - np.inf, ValueError, "expected finite logits"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_answers_are_refused_by_all_that_ask(kind, classifier):
    make, error, match = REFUSED[kind]
    few = AutoAttack(steps=1, targets=1, queries=1)
    for run in (
        lambda m, x, y: pgd(m, x, y, threat=THREAT, steps=1, step_size=0.1),
        lambda m, x, y: autoattack(m, x, y, threat=THREAT, settings=few),
        lambda m, x, y: attack_all(m, "square", x, y, threat=THREAT, parameters={"queries": 1}),
        correct,
    ):
        with pytest.raises(error, match=match):
            run(make(classifier), IMAGES, LABELS % 2)


def test_nan_counts_as_misclassified_only_under_attack(classifier):
    def breaks_above_half(x):
        return tf.where(x[:, :1, 0, 0] > 0.5, np.nan, 1.0) * classifier(x)

    images = np.full((3, 8, 8, 1), 0.2, np.float32)
    labels = tf.argmax(classifier(images), axis=-1)
    assert correct(breaks_above_half, images, labels).all()
    images[2, 0, 0] = 0.9
    with pytest.raises(ValueError, match="NaN for 1 of 3 images, the first one at index 2"):
        correct(breaks_above_half, images, labels)
    with pytest.warns(UserWarning, match="1 of 3 adversarial images are NaN"):
        assert resists(breaks_above_half, images, labels).tolist() == [True, True, False]


def test_a_nan_that_argmax_takes_for_class_0_is_never_correct(classifier):
    with pytest.raises(ValueError, match="finite logits"):
        correct(lambda x: classifier(x) * np.nan, IMAGES, np.zeros(6, int))


def test_attacks_refuse_symbolic_tensors_and_datasets(classifier):
    def attack(images, labels=LABELS):
        return pgd(classifier, images, labels, threat=THREAT, steps=1, step_size=0.1)

    with pytest.raises(TypeError, match=r"outside of tf\.function"):
        tf.function(attack, autograph=False)(tf.constant(IMAGES))
    with pytest.raises(TypeError, match=r"got a tf\.data\.Dataset; keras_aaa\.data\.first"):
        attack(tf.data.Dataset.from_tensor_slices(IMAGES))
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        assert attack(IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize(
    "targets, error, match",
    [
        (LABELS, ValueError, "other classes than the labels; 6 are equal, the first at index 0"),
        ((LABELS + 1) % 10 + 10, ValueError, "expected 0 to 9"),
        (-np.ones(6, int), ValueError, "expected 0 to 9, got -1 to -1"),
        (np.float32(LABELS), TypeError, "whole numbers"),
        ((LABELS + 1)[:3] % 10, ValueError, r"expected shape \(6,\)"),
        (np.eye(10, dtype=int)[LABELS], ValueError, r"expected shape \(6,\)"),
    ],
)
def test_targets_are_other_classes(targets, error, match, classifier):
    common = {"threat": THREAT, "steps": 2, "targets": targets}
    for model in (classifier, lambda x: classifier(x)):
        with pytest.raises(error, match=match):
            fab(model, IMAGES, LABELS, **common)
        with pytest.raises(error, match=match):
            apgd(model, IMAGES, LABELS, loss="targeted_dlr", **common)


def test_labels_of_no_class_are_refused_of_callables_too(classifier):
    with pytest.raises(ValueError, match="labels: expected 0 to 9"):
        pgd(lambda x: classifier(x), IMAGES, LABELS + 10, threat=THREAT, steps=1, step_size=0.1)


def test_a_model_of_one_batch_size_says_so():
    inputs = keras.Input(batch_shape=(2, 8, 8, 1))
    model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(inputs)))
    assert correct(model, IMAGES[:2], LABELS[:2]).shape == (2,)
    with pytest.raises(ValueError, match="takes batches of 2 images, got 6"):
        correct(model, IMAGES, LABELS)
