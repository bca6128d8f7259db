"""HopSkipJump on a model whose nearest boundary is known, by decisions alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.attacks import hop_skip_jump
from keras_aaa.threat_model import ThreatModel

EXAMPLES, PIXELS = 6, 16
ORDERS = {"l2": (2, 2), "linf": (np.inf, 1)}  # the norm's order and its dual's


@pytest.fixture
def linear():
    """Two classes, linear, and images whose distances to the boundary are known, by norm."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(PIXELS, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    model.set_weights([weights, -0.5 * weights.sum(0)])  # the boundary passes through grey
    images = (0.5 + 0.05 * random.normal(size=(EXAMPLES, 4, 4, 1))).astype(np.float32)
    logits = model(images).numpy()
    gap, w = np.abs(logits[:, 0] - logits[:, 1]), weights[:, 0] - weights[:, 1]
    distance = {norm: gap / np.linalg.norm(w, ord=dual) for norm, (_, dual) in ORDERS.items()}
    return model, images, logits.argmax(1), distance


def moved(x_adv, images, norm):
    difference = (np.asarray(x_adv) - images).reshape(len(images), -1)
    return np.linalg.norm(difference, ord=ORDERS[norm][0], axis=1)


@pytest.mark.parametrize("norm", ORDERS)
def test_it_comes_close_to_the_known_distance(linear, norm):
    model, images, labels, distance = linear
    wide = ThreatModel(norm, 1.0 if norm == "linf" else 10.0)
    lengths = []
    for iterations in (1, 25):
        x_adv = hop_skip_jump(model, images, labels, threat=wide, iterations=iterations)
        assert (model(x_adv).numpy().argmax(1) != labels).all()
        lengths.append(moved(x_adv, images, norm))
    assert (lengths[1] >= distance[norm] - 1e-5).all()
    assert (lengths[1] <= 1.1 * distance[norm] + 1e-3).all()
    assert lengths[1].mean() < lengths[0].mean()
    small = ThreatModel(norm, float(np.median(distance[norm])))
    inside = hop_skip_jump(model, images, labels, threat=small, iterations=2)
    assert small.contains(inside, images).all()


def test_only_the_decision_counts_and_the_seed_decides_the_rest(linear):
    model, images, labels, _ = linear

    def decision(x):
        return tf.one_hot(tf.argmax(model(x), axis=1), 2)

    settings = {"threat": ThreatModel("l2", 10.0), "iterations": 2, "first_evaluations": 10}
    x_adv = hop_skip_jump(model, images, labels, **settings, seed=1)
    np.testing.assert_array_equal(
        hop_skip_jump(decision, images, labels, **settings, seed=1), x_adv
    )
    other = hop_skip_jump(model, images, labels, **settings, seed=2)
    assert not np.array_equal(other, x_adv)


def test_images_that_need_no_attack_or_allow_none(linear):
    model, images, labels, _ = linear
    settings = {"threat": ThreatModel("l2", 10.0), "iterations": 1, "first_evaluations": 2}
    wrong = np.where(np.arange(EXAMPLES) < 3, 1 - labels, labels)
    x_adv = hop_skip_jump(model, images, wrong, **settings)
    assert moved(x_adv, images, "l2")[:3].max() == 0 < moved(x_adv, images, "l2")[3:].min()

    def constant(x):
        return 0 * model(x) + tf.constant([[1.0, 0.0]])

    zeros = np.zeros(EXAMPLES, int)
    np.testing.assert_array_equal(hop_skip_jump(constant, images, zeros, **settings), images)


def test_it_starts_where_it_is_told():
    """No noise between two grey levels is misclassified here, but the given image is."""

    def checkered(x):
        fine = tf.reduce_mean(tf.abs(x[:, 1:, :, 0] - x[:, :-1, :, 0]), axis=(1, 2))
        return tf.stack([0 * fine, fine - 0.9], axis=1)

    images, labels = np.full((2, 8, 8, 1), 0.5, np.float32), np.zeros(2, int)
    settings = {"threat": ThreatModel("l2", 10.0), "iterations": 1, "first_evaluations": 2}
    np.testing.assert_array_equal(hop_skip_jump(checkered, images, labels, **settings), images)
    stripes = np.tile(np.arange(8)[:, None, None] % 2, (2, 1, 8, 1)).astype(np.float32)
    x_adv = hop_skip_jump(checkered, images, labels, **settings, start=stripes)
    assert (checkered(x_adv).numpy().argmax(1) == 1).all()
    assert (moved(x_adv, images, "l2") <= moved(stripes, images, "l2") + 1e-5).all()
