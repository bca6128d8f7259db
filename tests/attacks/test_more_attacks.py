"""Attacks beyond PGD and AutoAttack, on models whose nearest boundary is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.attacks import bpda, carlini_wagner, deepfool, eot, pgd, random_noise, spsa
from keras_aaa.threat_model import ThreatModel

WIDE = ThreatModel("l2", 10.0)


@pytest.fixture
def linear():
    """Three classes, linear, and images whose l2 distance to the nearest boundary is known."""
    random = np.random.default_rng(0)
    inputs = keras.Input((5, 5, 1))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    weights = random.normal(size=(25, 3)).astype(np.float32)
    bias = -0.5 * weights.sum(0)  # all boundaries meet at grey: no box is in the way
    model.set_weights([weights, bias])
    images = (0.5 + 0.05 * random.normal(size=(12, 5, 5, 1))).astype(np.float32).clip(0, 1)
    logits = model(images).numpy()
    labels = logits.argmax(1)
    own = logits[np.arange(12), labels][:, None]
    spread = np.linalg.norm(weights[:, labels].T[:, :, None] - weights[None], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.nanmin(np.where(spread > 0, (own - logits) / spread, np.nan), axis=1)
    return model, images, labels, distance


def moved(x_adv, images):
    return np.linalg.norm((np.asarray(x_adv) - images).reshape(len(images), -1), axis=1)


def test_deepfool_reaches_the_known_nearest_boundary(linear):
    model, images, labels, distance = linear
    x_adv = deepfool(model, images, labels, threat=WIDE, overshoot=0.02)
    assert (model(x_adv).numpy().argmax(1) != labels).all()
    np.testing.assert_allclose(moved(x_adv, images), 1.02 * distance, rtol=0.02, atol=2e-3)


def whole_jacobian(model, images, labels, steps, overshoot):
    """DeepFool by the Jacobian of all classes, one image at a time, in NumPy."""
    found = images.copy()
    for x, label, out in zip(images, labels, found, strict=True):
        total = np.zeros_like(x)
        for _ in range(steps):
            moved = np.clip(x + (1 + overshoot) * total, 0, 1)
            with tf.GradientTape() as tape:
                at = tf.constant(moved[None])
                tape.watch(at)
                logits = model(at)
            jacobian = tape.jacobian(logits, at).numpy()[0, :, 0]
            logits = logits.numpy()[0]
            if logits.argmax() != label:
                break
            w, gap = jacobian - jacobian[label], np.abs(logits - logits[label])
            length = np.sqrt((w**2).sum(axis=(1, 2, 3)))
            with np.errstate(invalid="ignore", divide="ignore"):
                nearest = np.nanargmin(np.where(length > 0, gap / length, np.nan))
            total += (gap[nearest] + 1e-4) / length[nearest] ** 2 * w[nearest]
        out[:] = np.clip(x + (1 + overshoot) * total, 0, 1)
    return found


def test_deepfool_over_ten_classes_is_the_algorithm_over_all(small_classifier, digits):
    images, labels = (array[:8] for array in digits)
    labels = small_classifier(images).numpy().argmax(1)
    x_adv = deepfool(small_classifier, images, labels, threat=WIDE, steps=3, overshoot=0.02)
    expected = whole_jacobian(small_classifier, images, labels, 3, 0.02)
    assert moved(expected, images).min() > 0
    np.testing.assert_allclose(x_adv, expected, atol=1e-5)


def test_deepfool_looks_only_at_the_classes_with_the_largest_logits():
    """Class 1 has the second largest logit, class 2 the nearest boundary."""
    weights = np.zeros((25, 3), np.float32)
    weights[0, 1], weights[1, 2] = 1.0, 10.0
    model = keras.Sequential([keras.Input((5, 5, 1)), layers.Flatten(), layers.Dense(3)])
    model.set_weights([weights, np.array([0.0, -0.7, -6.0], np.float32)])
    images, labels = np.full((1, 5, 5, 1), 0.5, np.float32), np.array([0])
    for classes, pixel in ((2, 0), (3, 1), (1000, 1)):
        x_adv = deepfool(model, images, labels, threat=WIDE, classes=classes).numpy()
        np.testing.assert_array_equal(np.flatnonzero(x_adv - images), [pixel])
        assert model(x_adv).numpy().argmax() == pixel + 1
    with pytest.raises(ValueError, match="classes: expected 2 or more"):
        deepfool(model, images, labels, threat=WIDE, classes=1)


@pytest.mark.parametrize("scale", [1e-15, 1e-30])
def test_deepfool_follows_tiny_gradients_and_leaves_zero_ones(linear, scale):
    model, images, labels, _ = linear
    x_adv = deepfool(lambda x: scale * model(x), images, labels, threat=WIDE).numpy()
    assert (model(x_adv).numpy().argmax(1) != labels).all()
    still = deepfool(lambda x: tf.stop_gradient(model(x)), images, labels, threat=WIDE)
    np.testing.assert_array_equal(still, images)
    # A class whose logit has the label's gradient has no boundary; the others have.
    twin = deepfool(
        lambda x: tf.concat([model(x), model(x)[:, :1] - 9.0], axis=1),
        images, labels, threat=WIDE,
    )  # fmt: skip
    np.testing.assert_allclose(twin, deepfool(model, images, labels, threat=WIDE), atol=1e-6)


def test_carlini_wagner_comes_close_to_the_known_distance(linear):
    model, images, labels, distance = linear
    x_adv = carlini_wagner(model, images, labels, threat=WIDE, steps=300, searches=6)
    assert (model(x_adv).numpy().argmax(1) != labels).all()
    assert (moved(x_adv, images) >= distance - 1e-4).all()
    np.testing.assert_allclose(moved(x_adv, images), distance, rtol=0.25, atol=0.01)
    sure = carlini_wagner(model, images, labels, threat=WIDE, steps=300, searches=6, confidence=1.0)
    logits = model(sure).numpy()
    own = logits[np.arange(12), labels]
    assert (logits.max(1) - own >= 1.0 - 1e-3).all()
    assert (moved(sure, images) > moved(x_adv, images)).all()


def test_minimal_attacks_are_projected_onto_a_small_ball(linear):
    model, images, labels, distance = linear
    small = ThreatModel("l2", float(np.median(distance)))
    for attack in (deepfool, carlini_wagner):
        x_adv = attack(model, images, labels, threat=small, steps=50)
        assert small.contains(x_adv, images).all()
        with pytest.raises(ValueError, match="is made for the norm l2"):
            attack(model, images, labels, threat=ThreatModel("linf", 0.1))


@pytest.mark.parametrize("norm, eps", [("linf", 0.05), ("l2", 0.2)])
def test_momentum_and_spsa_find_the_linear_optimum(linear, norm, eps):
    model, images, labels, _ = linear
    threat = ThreatModel(norm, eps)

    def margin(x):
        logits = model(x).numpy()
        own = logits[np.arange(12), labels]
        logits[np.arange(12), labels] = -np.inf
        return (own - logits.max(1)).mean()

    best = margin(pgd(model, images, labels, threat=threat, steps=100, step_size=eps / 10))
    with_momentum = pgd(
        model, images, labels, threat=threat, steps=50, step_size=eps / 5, momentum=0.9
    )
    by_queries = spsa(
        model, images, labels, threat=threat, steps=60, samples=16, learning_rate=eps / 8
    )
    for x_adv in (with_momentum, by_queries):
        assert threat.contains(x_adv, images).all()
        assert margin(x_adv) <= best + 0.15 * (margin(images) - best)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_has_the_length_of_the_ball(linear, norm):
    model, images, labels, _ = linear
    threat = ThreatModel(norm, 0.1)
    x_adv = random_noise(model, images, labels, threat=threat, seed=1)
    order = {"linf": np.inf, "l2": 2}[norm]
    lengths = np.linalg.norm((x_adv - images).numpy().reshape(12, -1), ord=order, axis=1)
    np.testing.assert_allclose(lengths, 0.1, rtol=1e-4)
    assert np.abs(x_adv - random_noise(model, images, labels, threat=threat, seed=2)).max() > 0


def test_bpda_goes_through_what_has_no_gradient(linear):
    model, images, labels, _ = linear
    threat = ThreatModel("linf", 0.1)

    def rounded(x):
        return tf.round(x * 20) / 20

    def blind(x):
        return model(rounded(x))

    settings = {"threat": threat, "steps": 20, "step_size": 0.02, "start": images}
    # The gradient of rounding is zero: all images walk in the same random directions.
    lost = pgd(blind, images, labels, **settings) - images
    assert np.abs(lost - lost[:1]).max() < 1e-6 and np.abs(lost).max() > 0.01
    through = bpda(rounded)
    x_adv = pgd(lambda x: model(through(x)), images, labels, **settings)
    wrong = model(rounded(x_adv)).numpy().argmax(1) != labels
    assert wrong.mean() > 0.5
    # With a surrogate the gradient is the surrogate's: here three times the identity's.
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        y = tf.reduce_sum(bpda(rounded, lambda z: 3 * z)(x))
    np.testing.assert_allclose(tape.gradient(y, x), 3.0)


@pytest.mark.parametrize("kind", ["model", "numpy"])
def test_bpda_takes_models_with_weights_and_functions_without_a_shape(
    small_autoencoder, small_classifier, digits, kind
):
    def numpy(x):
        return tf.numpy_function(lambda a: np.round(a * 4) / 4, [x], tf.float32)

    function = small_autoencoder if kind == "model" else numpy
    through, (images, labels) = bpda(function), digits
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        y = through(x)
    np.testing.assert_array_equal(y, function(images))
    np.testing.assert_array_equal(tape.gradient(y, x), np.ones_like(images))
    threat = ThreatModel("linf", 0.1)
    x_adv = pgd(
        lambda x: small_classifier(through(x)),
        images, labels, threat=threat, steps=1, step_size=0.05, start=images,
    )  # fmt: skip
    with tf.GradientTape() as tape:
        y = tf.constant(function(images))
        tape.watch(y)
        loss = keras.losses.sparse_categorical_crossentropy(
            labels, small_classifier(y), from_logits=True
        )
    along = np.clip(images + 0.05 * np.sign(tape.gradient(loss, y)), 0, 1)
    np.testing.assert_allclose(x_adv, along, atol=1e-6)


def test_eot_averages_outputs_and_gradients():
    calls = []

    def random_defence(x):
        calls.append(1)
        return float(len(calls)) * tf.reduce_sum(x, axis=(1, 2, 3))[:, None]

    x = tf.ones((2, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = eot(random_defence, 3)(x)
    np.testing.assert_allclose(y, 2.0 * 4)
    np.testing.assert_allclose(tape.gradient(y, x), 2.0)
    with pytest.raises(ValueError, match="samples: expected 1"):
        eot(random_defence, 0)
