"""The l1 norm: exact projection, steepest directions, and attacks whose optimum is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.attacks import apgd, fab, fgsm, pgd, random_noise, spsa, square
from keras_aaa.attacks._engine.planes import onto_plane
from keras_aaa.attacks._engine.squares import bumps
from keras_aaa.norms import NORMS
from keras_aaa.threat_model import ThreatModel

L1 = NORMS["l1"]


def nearest_by_bisection(x, y, eps):
    """The projection of one x + y onto the l1 ball around x and [0, 1], in float64."""
    room = np.where(y > 0, 1 - x, x)
    low, high = 0.0, np.abs(y).max()

    def cut(amount):
        return np.clip(np.abs(y) - amount, 0, room)

    if cut(0.0).sum() <= eps:
        return np.sign(y) * cut(0.0)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if cut(middle).sum() > eps else (low, middle)
    return np.sign(y) * cut(high)


@pytest.mark.parametrize("eps", [0.0, 1e-4, 0.5, 2.0, 12.0])
def test_the_projection_is_the_nearest_point_of_ball_and_box(eps):
    random, threat = np.random.default_rng(0), ThreatModel("l1", eps)
    x = random.random((60, 7, 6, 3)).astype(np.float32)
    x[:20] = np.round(x[:20])
    moved = x + random.normal(size=x.shape) * random.choice([0.01, 0.3, 3.0], (60, 1, 1, 1))
    moved = moved.astype(np.float32)
    found = threat.project(moved, x).numpy()
    assert threat.contains(found, x).all()
    for point, centre, inside in zip(moved, x, found, strict=True):
        y = point.astype(np.float64) - centre
        expected = centre + nearest_by_bisection(centre.astype(np.float64), y, eps)
        np.testing.assert_allclose(inside, expected, atol=1e-5)
    np.testing.assert_allclose(threat.project(found, x), found, atol=1e-6)


def test_the_steepest_direction_moves_the_pixels_that_can_move():
    gradient = tf.reshape(tf.constant([3.0, -2.0, 1.0, 5.0, 0.0]), (1, 1, 5, 1))
    x = tf.reshape(tf.constant([0.5, 0.5, 0.5, 1.0, 0.5]), (1, 1, 5, 1))  # the largest is at 1
    one = L1.steepest(gradient, x, 0.0)
    np.testing.assert_array_equal(np.ravel(one), [1, 0, 0, 0, 0])
    two = L1.steepest(tf.tile(1e-35 * gradient, (2, 1, 1, 1)), x, tf.constant([0.4, 0.6]))
    np.testing.assert_allclose(two[0, 0, :, 0], [0.5, -0.5, 0, 0, 0])
    np.testing.assert_allclose(two[1, 0, :, 0], [1 / 3, -1 / 3, 1 / 3, 0, 0])
    np.testing.assert_array_equal(L1.steepest(0 * gradient, x), np.zeros((1, 1, 5, 1)))


def greedy(x, w, target):
    """The shortest d in l1 with w . d = target and x + d in [0, 1]: the heaviest pixels first."""
    d, left = np.zeros_like(x), target
    room = np.where(w * target > 0, 1 - x, x)
    for i in np.argsort(-np.abs(w), axis=None):
        step = min(room.flat[i], abs(left) / abs(w.flat[i]))
        d.flat[i] = step * np.sign(w.flat[i] * target)
        left -= d.flat[i] * w.flat[i]
        if step < room.flat[i]:
            break
    return d


def test_shortest_step_onto_a_plane_is_the_greedy_one():
    random = np.random.default_rng(0)
    x = random.random((30, 3, 3, 1)).astype(np.float32)
    w = random.normal(size=x.shape).astype(np.float32)
    residual = random.normal(size=30).astype(np.float32)
    d = onto_plane(tf.constant(x), tf.constant(w), tf.constant(residual), "l1").numpy()
    assert ((x + d >= -1e-6) & (x + d <= 1 + 1e-6)).all()
    for i in range(30):
        np.testing.assert_allclose(d[i], greedy(x[i], w[i], -residual[i]), atol=1e-4)


@pytest.fixture(scope="module")
def two_classes():
    """A linear model of two classes, images, labels and the gradient of the label's margin."""
    random = np.random.default_rng(1)
    inputs = keras.Input((6, 6, 1))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))
    weights = random.normal(size=(36, 2)).astype(np.float32)
    model.set_weights([weights, -0.5 * weights.sum(0)])
    images = random.random((20, 6, 6, 1)).astype(np.float32)
    labels = model(images).numpy().argmax(1)
    own = weights[:, labels].T - weights[:, 1 - labels].T
    return model, images, labels, own.reshape(images.shape)


def margins(model, x, labels):
    logits = model(x).numpy()
    index = np.arange(len(labels))
    return logits[index, labels] - logits[index, 1 - labels]


def test_attacks_come_close_to_the_known_optimum(two_classes):
    model, images, labels, w = two_classes
    threat = ThreatModel("l1", 1.5)

    def best(x, w):  # the ball's length spent on the heaviest pixels
        gain, left = 0.0, threat.eps
        room = np.where(w > 0, x, 1 - x)
        for i in np.argsort(-np.abs(w), axis=None):
            step = min(left, room.flat[i])
            gain, left = gain + step * abs(w.flat[i]), left - step
        return gain

    gains = np.array([best(x, v) for x, v in zip(images, w, strict=True)])
    before = margins(model, images, labels)
    for name, least, attack in (
        ("apgd", 0.98, lambda: apgd(model, images, labels, threat=threat, loss="margin")),
        ("pgd", 0.95, lambda: pgd(model, images, labels, threat=threat, steps=60, step_size=0.1)),
        ("fgsm", 0.15, lambda: fgsm(model, images, labels, threat=threat)),
        ("square", 0.4, lambda: square(model, images, labels, threat=threat, queries=400)),
    ):
        x_adv = attack()
        assert threat.contains(x_adv, images).all(), name
        reached = (before - margins(model, x_adv, labels)) / gains
        # APGD stops at a point that fools.
        assert ((reached >= least) | (margins(model, x_adv, labels) <= 0)).mean() > 0.9, name
        assert (reached <= 1 + 1e-3).all(), name


def test_fab_finds_the_nearest_boundary(two_classes):
    model, images, labels, w = two_classes
    threat = ThreatModel("l1", 36.0)
    before = margins(model, images, labels)
    nearest = [np.abs(greedy(x, v, -m)).sum() for x, v, m in zip(images, w, before, strict=True)]
    for targets in (1 - labels, None):
        x_adv = fab(model, images, labels, threat=threat, steps=30, targets=targets).numpy()
        assert (margins(model, x_adv, labels) < 0).all()
        lengths = np.abs(x_adv - images).sum((1, 2, 3))
        np.testing.assert_allclose(lengths, nearest, rtol=0.02, atol=0.02)


def test_noise_has_the_length_of_the_ball_and_spsa_refuses(two_classes):
    model, images, labels, _ = two_classes
    threat = ThreatModel("l1", 2.0)
    x_adv = random_noise(model, images, labels, threat=threat)
    np.testing.assert_allclose(np.abs(x_adv - images).sum((1, 2, 3)), 2.0, rtol=1e-4)
    with pytest.raises(ValueError, match="spsa is made for the norm linf or l2, got l1"):
        spsa(model, images, labels, threat=threat)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("side", [1, 3, 8])
def test_bumps_have_length_one_and_two_signs(order, side):
    pair = bumps(side, order)
    assert np.linalg.norm(pair.ravel(), ord=order) == pytest.approx(1.0, abs=1e-6)
    assert (pair[: side // 2] > 0).all() and (pair[side // 2 :] < 0).all()
    centre = np.unravel_index(np.abs(pair[side // 2 :]).argmax(), (side - side // 2, side))
    assert centre == ((side - side // 2) // 2, side // 2)


@pytest.mark.parametrize("norm, eps", [("l2", 0.6), ("l1", 1.5)])
@pytest.mark.parametrize("shape", [(4, 9, 7, 3), (2, 2, 5, 1)])
def test_square_spends_the_ball_and_lowers_the_margin(norm, eps, shape):
    random, threat = np.random.default_rng(0), ThreatModel(norm, eps)
    images = (0.4 + 0.2 * random.random(shape)).astype(np.float32)
    w = random.normal(size=(int(np.prod(shape[1:])), 2)).astype(np.float32)
    labels = np.zeros(len(images), int)

    def model(x):
        return tf.reshape(x, (tf.shape(x)[0], -1)) @ w

    few, many = (
        square(model, images, labels, threat=threat, queries=200, last=last) for last in (0, 200)
    )
    for x_adv in (few, many):
        assert threat.contains(x_adv, images).all()
        lengths = threat.metric.length(x_adv - images).numpy()
        assert (lengths > 0.9 * eps).all()
    assert (margins(lambda x: model(x), many, labels) < margins(model, few, labels) - 0.1).all()
