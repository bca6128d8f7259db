"""Restarts, and steps where the gradient is exactly zero."""

import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.attacks import apgd, fab, fgsm, pgd, square
from keras_aaa.attacks.losses import ascended_cross_entropy, cross_entropy
from keras_aaa.threat_model import ThreatModel

NORMS_OF_BALLS = [("linf", 0.0995), ("l2", 0.5), ("l1", 2.0)]
SMALL_BALLS = [("linf", 0.03), ("l2", 0.15), ("l1", 0.3)]  # that fool some images, but not all
IMAGES = np.full((6, 5, 5, 1), 0.5, np.float32)
LABELS = np.zeros(6, int)


def chance(x):
    """Two classes: the second wins for the half of all points whose last bits sum to odd."""
    bits = tf.reduce_sum(tf.floor(x * 1000), axis=(1, 2, 3))
    return tf.stack([tf.fill(tf.shape(bits), 0.5), tf.math.floormod(bits, 2.0)], axis=-1)


@pytest.mark.parametrize("norm, eps", NORMS_OF_BALLS)
@pytest.mark.parametrize(
    "attack, settings",
    [
        (pgd, {"steps": 0, "step_size": 0.1}),
        (apgd, {"steps": 1}),
        (square, {"queries": 1}),
        (fab, {"steps": 1}),
    ],
)
def test_restarts_only_help(attack, settings, norm, eps):
    threat = ThreatModel(norm, eps)
    images = np.random.default_rng(0).uniform(0.3, 0.7, (40, 5, 5, 1)).astype(np.float32)
    labels = np.zeros(40, int)

    def fooled(restarts):
        x_adv = attack(chance, images, labels, threat=threat, restarts=restarts, **settings).numpy()
        assert threat.contains(x_adv, images).all()
        return x_adv, chance(x_adv).numpy().argmax(1) != labels

    (first, once), (again, many) = fooled(1), fooled(8)
    np.testing.assert_array_equal(again[once], first[once])  # these are not attacked again
    assert many[once].all()
    if attack is not fab:  # it needs a gradient to find anything
        assert once.mean() < 0.99 and many.mean() > once.mean()
    with pytest.raises(ValueError, match="restarts: expected 1 or more"):
        fooled(0)


def test_a_part_of_a_search_has_no_restarts():
    common = {"threat": ThreatModel("linf", 0.1), "restarts": 2, "queries": 5}
    for part in ({"start": IMAGES}, {"last": 3}):
        with pytest.raises(ValueError, match="restarts: expected 1 for a part"):
            square(chance, IMAGES, LABELS, **common, **part)


def flat(x):
    """Two classes without any gradient."""
    return tf.stack([tf.ones(tf.shape(x)[0]), tf.zeros(tf.shape(x)[0])], axis=-1)


@pytest.mark.parametrize("norm, eps", NORMS_OF_BALLS)
@pytest.mark.parametrize(
    "attack, settings",
    [
        (pgd, {"steps": 3, "step_size": 0.05, "start": IMAGES}),
        (pgd, {"steps": 3, "step_size": 0.05, "start": IMAGES, "momentum": 0.9}),
        (fgsm, {}),
    ],
)
def test_a_zero_gradient_takes_a_random_step_that_no_batch_changes(attack, settings, norm, eps):
    threat = ThreatModel(norm, eps)
    x_adv = attack(flat, IMAGES, LABELS, threat=threat, **settings).numpy()
    assert (np.abs(x_adv - IMAGES).max((1, 2, 3)) > 1e-3).all()
    assert threat.contains(x_adv, IMAGES).all()
    np.testing.assert_array_equal(x_adv, np.repeat(x_adv[:1], 6, axis=0))


@pytest.mark.parametrize("norm, eps", SMALL_BALLS)
def test_the_scale_of_the_logits_hides_nothing(norm, eps):
    """Confidence does not protect: attacks fool the same images at every scale."""
    random = np.random.default_rng(0)
    w = random.normal(size=(25, 5)).astype(np.float32)
    images = random.random((20, 5, 5, 1)).astype(np.float32)
    threat = ThreatModel(norm, eps)

    def model(scale):
        return lambda x: scale * (tf.reshape(x - 0.5, (-1, 25)) @ w)

    labels = model(1.0)(images).numpy().argmax(1)
    targets = np.argsort(model(1.0)(images), axis=1)[:, -2]
    for attack, settings in (
        (apgd, {"loss": "ce", "steps": 10}),
        (pgd, {"steps": 10, "step_size": eps / 4}),
        (fgsm, {}),
        (apgd, {"loss": "dlr", "steps": 10}),
        (apgd, {"loss": "targeted_dlr", "targets": targets, "steps": 10}),
        (fab, {"targets": targets, "steps": 10}),
    ):
        fooled = {}
        for scale in (1.0, 1e-15, 1e6):
            x_adv = attack(model(scale), images, labels, threat=threat, **settings)
            fooled[scale] = model(1.0)(x_adv).numpy().argmax(1) != labels
        assert 0 < fooled[1.0].sum() < 20
        for scale in (1e-15, 1e6):
            assert (fooled[scale] >= fooled[1.0]).mean() >= 0.95, (attack, settings, scale)


def test_the_ascended_cross_entropy_is_the_cross_entropy_until_it_saturates():
    logits = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    labels = logits.argmax(1)
    for scale in (0.1, 10.0, 1e4):
        with tf.GradientTape(persistent=True) as tape:
            z = tf.constant(scale * logits)
            tape.watch(z)
            plain, ascended = cross_entropy(z, labels), ascended_cross_entropy(z, labels)
        usual, found = tape.gradient(plain, z).numpy(), tape.gradient(ascended, z).numpy()
        own = np.sort(z, axis=1)
        saturated = own[:, -1] - own[:, -2] > 62
        free = own[:, -1] - own[:, -2] < 58
        np.testing.assert_array_equal(found[free], usual[free])
        np.testing.assert_array_equal(ascended.numpy()[free], plain.numpy()[free])
        assert (ascended.numpy()[saturated] < -60).all()
        assert (found[saturated, labels[saturated]] == -1).all()
    assert saturated.any() and (usual[saturated] == 0).any()
