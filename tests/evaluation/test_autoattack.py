"""AutoAttack's parts against published properties and values worked out by hand."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.attacks import apgd, fab, pgd, square
from keras_aaa.attacks._engine.apgd_rules import checkpoints
from keras_aaa.attacks._engine.planes import onto_plane
from keras_aaa.attacks._engine.squares import share
from keras_aaa.attacks.losses import dlr, margin, ranked_targets, targeted_dlr
from keras_aaa.evaluation import correct
from keras_aaa.evaluation._autoattack import AutoAttack, autoattack
from keras_aaa.models import build
from keras_aaa.threat_model import ThreatModel

EASY = ThreatModel("linf", 0.1)
STAGES = ("clean", "apgd_ce", "apgd_t", "fab_t", "square")


@pytest.fixture(scope="module")
def fitted(digits):
    """A convolutional classifier that has learned the digits at hand."""
    keras.utils.set_random_seed(0)
    model = build("madry", width=8, dense=32)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*digits, epochs=40, verbose=0)
    assert (np.argmax(model(digits[0]), -1) == digits[1]).all()
    return model


def test_logit_losses_by_hand():
    logits = tf.constant([[4.0, 1.0, 3.0, 0.0], [0.0, 2.0, 5.0, 4.0]])
    labels = tf.constant([0, 1])
    np.testing.assert_allclose(margin(logits, labels), [1.0, -3.0])
    # -(4 - 3) / (4 - 1); -(2 - 5) / (5 - 2)
    np.testing.assert_allclose(dlr(logits, labels), [-1 / 3, 1.0], rtol=1e-6)
    targets = ranked_targets(logits, labels, 1)
    assert targets.numpy().tolist() == [2, 2]
    assert ranked_targets(logits, labels, 3).numpy().tolist() == [3, 0]
    # -(4 - 3) / (4 - (1 + 0) / 2); -(2 - 5) / (5 - (2 + 0) / 2)
    np.testing.assert_allclose(targeted_dlr(logits, labels, targets), [-1 / 3.5, 3 / 4], rtol=1e-6)


def test_apgd_looks_at_the_published_steps():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_square_halves_its_share_as_published():
    shares = {query: share(query) for query in (0, 10, 11, 51, 201, 501, 4001, 9999)}
    assert shares == {
        0: 0.8, 10: 0.8, 11: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 4001: 0.8 / 128, 9999: 0.8 / 512,
    }  # fmt: skip


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_shortest_step_onto_a_plane_by_brute_force(norm):
    """Against a fine search over the one free number: how far to go along the direction."""
    random = np.random.default_rng(0)
    x = random.random((20, 3, 3, 1)).astype(np.float32)
    w = random.normal(size=x.shape).astype(np.float32)
    w[:, 0, 0] = 0.0
    residual = random.normal(size=20).astype(np.float32)
    d = onto_plane(tf.constant(x), tf.constant(w), tf.constant(residual), norm).numpy()
    assert ((x + d >= -1e-6) & (x + d <= 1 + 1e-6)).all()
    lengths = np.linspace(0, 20, 200_001)
    for i in range(20):
        sign = -np.sign(residual[i]) * np.sign(w[i])
        speed = np.ones_like(w[i]) if norm == "linf" else np.abs(w[i])
        room = np.where(sign > 0, 1 - x[i], x[i]) * np.abs(sign)
        reach = sum(
            np.abs(w[i].flat[j]) * np.minimum(lengths * speed.flat[j], room.flat[j])
            for j in range(9)
        )
        target = abs(residual[i])
        if reach[-1] < target:  # the box ends before the plane: as near as it lets
            np.testing.assert_allclose(np.sum(w[i] * d[i]), -np.sign(residual[i]) * reach[-1], 1e-3)
            continue
        np.testing.assert_allclose(np.sum(w[i] * d[i]), -residual[i], atol=1e-4)
        shortest = lengths[np.searchsorted(reach, target)]
        expected = np.minimum(shortest * speed, room)
        np.testing.assert_allclose(np.abs(d[i]), expected, atol=2e-3)


def test_equal_logits_have_no_gradient_that_overflows():
    logits = tf.constant([[2.0, 2.0, 2.0, 2.0, 0.0]])  # as bfloat16 makes of nearly equal ones
    labels, targets = tf.constant([4], tf.int64), tf.constant([0], tf.int64)
    for loss, extra in ((dlr, ()), (targeted_dlr, (targets,))):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits, labels, *extra)
        # A network's layers multiply it further, and float32 ends at 3e38.
        assert np.abs(tape.gradient(value, logits)).max() < 1e15


@pytest.mark.parametrize("loss", ["ce", "dlr", "targeted_dlr"])
@pytest.mark.parametrize("norm, eps", [("linf", 0.1), ("l2", 1.5)])
def test_apgd_keeps_the_budget_and_is_no_weaker_than_pgd(fitted, digits, loss, norm, eps):
    images, labels = digits
    threat = ThreatModel(norm, eps)
    targets = ranked_targets(fitted(images), labels, 1) if loss == "targeted_dlr" else None
    x_adv = apgd(fitted, images, labels, threat=threat, steps=30, loss=loss, targets=targets)
    assert threat.contains(x_adv, images).all()
    fell = ~correct(fitted, x_adv, labels)
    x_pgd = pgd(fitted, images, labels, threat=threat, steps=30, step_size=eps / 4)
    assert fell.mean() >= (~correct(fitted, x_pgd, labels)).mean() - 0.05
    assert fell.mean() > 0.1


def test_more_apgd_steps_never_end_lower(fitted, digits):
    """What is returned has the highest loss met, or fools; a longer run has met at least as much
    only on average, since its step-size rule differs, but the start bounds every run."""
    images, labels = digits
    tiny = ThreatModel("linf", 0.01)  # too small to fool anybody: the best loss is what comes back

    def loss(x):
        return keras.ops.sparse_categorical_crossentropy(labels, fitted(x), from_logits=True)

    one, ten = (apgd(fitted, images, labels, threat=tiny, steps=n) for n in (1, 10))
    start = pgd(fitted, images, labels, threat=tiny, steps=0, step_size=1.0)
    assert correct(fitted, ten, labels).all()
    assert (loss(ten).numpy() >= loss(one).numpy() - 1e-6).mean() > 0.95
    assert np.mean(loss(one)) > np.mean(loss(start))


@pytest.mark.parametrize("norm, eps", [("linf", 0.15), ("l2", 1.5)])
def test_fab_returns_the_nearest_and_only_inside_the_ball(fitted, digits, norm, eps):
    images, labels = digits
    targets = ranked_targets(fitted(images), labels, 1)
    threat, half = ThreatModel(norm, eps), ThreatModel(norm, eps / 2)
    found, nearer = (
        fab(fitted, images, labels, threat=t, steps=40, targets=targets).numpy()
        for t in (threat, half)
    )
    assert threat.contains(found, images).all()
    moved = np.abs(found - images).reshape(len(images), -1).max(1) > 0
    fell = ~correct(fitted, found, labels)
    np.testing.assert_array_equal(fell, moved)  # either it fools or it is the image itself
    assert fell.any()
    # The distance does not depend on the ball: a smaller one only drops those outside.
    inside = half.contains(found, images) & moved
    np.testing.assert_allclose(nearer[inside], found[inside], atol=1e-6)
    x_pgd = pgd(fitted, images, labels, threat=threat, steps=40, step_size=eps / 8)
    assert fell.mean() >= (~correct(fitted, x_pgd, labels)).mean() - 0.25


def test_square_needs_no_gradient_and_lowers_the_margin(fitted, digits):
    images, labels = digits
    queries = []

    def black_box(x):
        queries.append(1)
        return tf.stop_gradient(fitted(x))

    threat = ThreatModel("linf", 0.2)
    few, many = (
        square(black_box, images, labels, threat=threat, queries=300, last=last)
        for last in (1, 300)
    )
    assert threat.contains(many, images).all()
    assert (margin(fitted(many), labels) <= margin(fitted(few), labels) + 1e-5).numpy().all()
    assert np.mean(margin(fitted(many), labels)) < np.mean(margin(fitted(few), labels)) - 0.1


def test_square_does_not_ask_about_images_that_stayed_as_they_were():
    asked = []

    def count(x):
        asked.append(len(x))
        return x

    def black_box(x):
        flat = tf.reshape(tf.numpy_function(count, [x], tf.float32), (-1, 1))
        return tf.concat([flat, -flat], axis=-1)

    # A square on one pixel moves it to one end of the ball or the other: half of them are there.
    images, labels = tf.fill((50, 1, 1, 1), 0.5), tf.zeros(50, tf.int64)
    found = square(black_box, images, labels, threat=EASY, queries=40)
    np.testing.assert_allclose(found, np.full((50, 1, 1, 1), 0.4), atol=1e-6)
    assert asked.pop(0) == 8  # the check of what the model answers
    assert asked[0] == 50
    # Once at the end that fools most, no image is bettered: a square asks with probability 1/2.
    assert len(asked) == 41
    assert 0.4 * 50 * 40 < sum(asked[1:]) < 0.6 * 50 * 40


def test_square_in_rounds_is_square_at_once(fitted, digits):
    images, labels = digits
    settings = {"threat": EASY, "queries": 40, "seed": 3}
    whole = square(fitted, images, labels, **settings)
    half = square(fitted, images, labels, last=25, **settings)
    rest = square(fitted, images, labels, first=25, start=half, **settings)
    np.testing.assert_array_equal(whole, rest)


def test_autoattack_stages_only_lose_examples_and_images_prove_it(fitted, digits):
    images, labels = digits
    settings = AutoAttack(steps=10, targets=3, queries=60)
    found = autoattack(fitted, images, labels, threat=EASY, settings=settings)
    counts = [int(found[stage].sum()) for stage in STAGES]
    assert counts == sorted(counts, reverse=True) and counts[0] == 64 > counts[-1]
    assert EASY.contains(found["x_adv"], images).all()
    np.testing.assert_array_equal(correct(fitted, found["x_adv"], labels), found["square"])
    changed = np.abs(found["x_adv"] - images).reshape(64, -1).max(1) > 0
    np.testing.assert_array_equal(changed, ~found["square"])
    again = autoattack(fitted, images, labels, threat=EASY, settings=settings)
    for name in found:
        np.testing.assert_array_equal(found[name], again[name])


def test_autoattack_resumes_by_blocks(fitted, digits, tmp_path, monkeypatch):
    # By its path: the package offers the function under the module's name.
    monkeypatch.setattr(importlib.import_module("keras_aaa.evaluation._autoattack"), "BLOCK", 16)
    images, labels = digits
    settings = AutoAttack(steps=3, targets=1, queries=10)
    run = {"threat": EASY, "settings": settings}
    whole = autoattack(fitted, images, labels, **run)

    class Killed(Exception):
        pass

    done = []

    def kill_after_two(examples):
        done.append(examples)
        if len(done) == 2:
            raise Killed

    with pytest.raises(Killed):
        autoattack(fitted, images, labels, workdir=tmp_path, on_block=kill_after_two, **run)
    assert len(list(tmp_path.glob("block*.npz"))) == 2
    resumed = autoattack(fitted, images, labels, workdir=tmp_path, **run)
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])
    with pytest.raises(ValueError, match="holds another run: threat"):
        other = ThreatModel("linf", 0.2)
        autoattack(fitted, images, labels, threat=other, settings=settings, workdir=tmp_path)


def test_bad_settings_are_named(fitted, digits):
    images, labels = digits
    with pytest.raises(ValueError, match="targets: expected with targeted_dlr"):
        apgd(fitted, images, labels, threat=EASY, steps=1, loss="targeted_dlr")
    with pytest.raises(ValueError, match=r"Did you mean 'ce'"):
        apgd(fitted, images, labels, threat=EASY, steps=1, loss="cee")
    with pytest.raises(ValueError, match="steps: expected 1 or more"):
        fab(fitted, images, labels, threat=EASY, steps=0, targets=(labels + 1) % 10)
    with pytest.raises(ValueError, match="first: expected 0 to 2"):
        square(fitted, images, labels, threat=EASY, queries=5, first=4, last=2)
