import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent
from keras import layers

from keras_aaa.attacks import fgsm, pgd
from keras_aaa.attacks.losses import cross_entropy
from keras_aaa.fast.fast_copy import FastCopy
from keras_aaa.threat_model import ThreatModel


def linear_model():
    """Two classes; class 1 gains with every pixel, so the worst case is known."""
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))
    weights = np.zeros((16, 2), np.float32)
    weights[:, 1] = 1.0
    model.set_weights([weights, np.zeros(2, np.float32)])
    return model


def test_pgd_finds_the_known_optimum_of_a_linear_model():
    x = np.full((3, 4, 4, 1), 0.5, np.float32)
    labels = np.array([0, 1, 0])
    up_or_down = np.where(labels == 0, 1.0, -1.0).reshape(3, 1, 1, 1)
    linf = pgd(linear_model(), x, labels, threat=ThreatModel("linf", 0.2), steps=50, step_size=0.02)
    np.testing.assert_allclose(linf, x + 0.2 * up_or_down * np.ones_like(x), atol=1e-5)
    l2 = pgd(linear_model(), x, labels, threat=ThreatModel("l2", 0.4), steps=200, step_size=0.05)
    np.testing.assert_allclose(l2, x + 0.1 * up_or_down * np.ones_like(x), atol=1e-3)


def test_fgsm_is_one_signed_step():
    x = np.full((1, 4, 4, 1), 0.9, np.float32)
    x_adv = fgsm(linear_model(), x, np.array([0]), threat=ThreatModel("linf", 0.2))
    np.testing.assert_allclose(x_adv, np.ones_like(x), atol=1e-6)  # 1.1 is cut to 1


@pytest.mark.parametrize("norm, eps", [("linf", 0.3), ("l2", 2.0)])
def test_pgd_stays_in_the_ball_and_raises_the_loss(norm, eps, small_classifier, digits):
    images, labels = digits
    threat = ThreatModel(norm, eps)
    x_adv = pgd(small_classifier, images, labels, threat=threat, steps=10, step_size=eps / 4)
    assert threat.contains(x_adv, images).all()
    before = cross_entropy(small_classifier(images), labels)
    after = cross_entropy(small_classifier(x_adv), labels)
    assert np.mean(after) > np.mean(before)


def test_pgd_matches_cleverhans_step_for_step(small_classifier, digits):
    images, labels = (tf.constant(a[:8]) for a in digits)
    ours = pgd(
        small_classifier, images, labels,
        threat=ThreatModel("linf", 0.1), steps=5, step_size=0.03, start=images,
    )  # fmt: skip
    theirs = projected_gradient_descent(
        small_classifier, images, 0.1, 0.03, 5, np.inf,
        clip_min=0.0, clip_max=1.0, y=labels, rand_init=False,
    )  # fmt: skip
    # A gradient of nearly zero may take either sign, at a handful of pixels.
    assert np.mean(np.abs(ours - theirs) > 1e-6) < 0.005


def test_steps_continue_where_a_shorter_run_ended(small_classifier, digits, threat):
    images, labels = digits
    whole = pgd(small_classifier, images, labels, threat=threat, steps=6, step_size=0.05, seed=1)
    half = pgd(small_classifier, images, labels, threat=threat, steps=3, step_size=0.05, seed=1)
    rest = pgd(small_classifier, images, labels, threat=threat, steps=3, step_size=0.05, start=half)
    np.testing.assert_array_equal(whole, rest)


def test_seed_gives_the_start_and_zero_eps_moves_nothing(small_classifier, digits, threat):
    images, labels = digits

    def start(seed):
        return pgd(
            small_classifier, images, labels, threat=threat, steps=0, step_size=0.1, seed=seed
        ).numpy()

    np.testing.assert_array_equal(start(1), start(1))
    assert not np.array_equal(start(1), start(2))
    still = pgd(
        small_classifier, images, labels, threat=ThreatModel("linf", 0.0), steps=3, step_size=0.1
    )
    np.testing.assert_array_equal(still, images)


def test_one_graph_serves_every_radius(small_classifier, digits):
    """A sweep of eps compiles once."""
    traced = []

    def counted(images):
        traced.append(images.shape)
        return small_classifier(images)

    for norm, eps in (("linf", 0.1), ("linf", 0.2), ("linf", 0.3)):
        threat = ThreatModel(norm, eps)
        x_adv = pgd(counted, *digits, threat=threat, steps=2, step_size=eps)
        assert threat.contains(x_adv, digits[0]).all()
        assert np.abs(x_adv - digits[0]).max() == pytest.approx(eps, abs=1e-6)
    assert traced.count(digits[0].shape) == 1


def test_the_single_step_compiles_once(small_classifier, digits, threat):
    traced = []

    def counted(images):
        traced.append(images.shape)
        return small_classifier(images)

    for _ in range(3):
        fgsm(counted, *digits, threat=threat)
    assert traced.count(digits[0].shape) == 1


def test_the_weights_of_the_moment_are_attacked(small_classifier, digits, threat):
    """The compiled attack is cached by model; the model may be trained in between."""
    images, labels = digits
    for model in (small_classifier, FastCopy(small_classifier, "bfloat16")):
        settings = {"threat": threat, "steps": 2, "step_size": 0.1}
        before = pgd(model, images, labels, **settings)
        small_classifier.set_weights([-w for w in small_classifier.get_weights()])
        assert not np.array_equal(before, pgd(model, images, labels, **settings))


def test_attacks_leave_the_model_alone(small_autoencoder, digits, threat):
    from keras_aaa.models import build, defend

    defended = defend(small_autoencoder, build("cnn", width=4, dense=16))
    before = [w.copy() for w in defended.get_weights()]
    pgd(defended, *digits, threat=threat, steps=2, step_size=0.1)
    for old, new in zip(before, defended.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x, y: (x + 1, y), ValueError, r"images: expected finite values in \[0, 1\]"),
        (lambda x, y: (x * np.nan, y), ValueError, "images: expected finite"),
        (lambda x, y: (x[0], y), ValueError, r"images: expected shape \(n, h, w, c\)"),
        (lambda x, y: (np.uint8(255 * x), y), TypeError, "images: expected floating point"),
        (lambda x, y: (x, y[:-1]), ValueError, "labels: expected shape"),
        (lambda x, y: (x, y + 7), ValueError, "labels: expected 0 to 9"),
        (lambda x, y: (x, np.float32(y)), TypeError, "labels: expected whole numbers"),
    ],
)
def test_bad_input_is_named(change, error, message, small_classifier, digits, threat):
    images, labels = change(*digits)
    for attack, settings in ((fgsm, {}), (pgd, {"steps": 1, "step_size": 0.1})):
        with pytest.raises(error, match=message):
            attack(small_classifier, images, labels, threat=threat, **settings)


def test_a_threat_that_is_none_and_images_of_another_size(small_classifier, digits, threat):
    images, labels = digits
    for wrong in ("mnist", 0.3, None):
        with pytest.raises(TypeError, match="threat: expected a ThreatModel"):
            pgd(small_classifier, images, labels, threat=wrong, steps=1, step_size=0.1)
    with pytest.raises(ValueError, match=r"images: madry takes \(28, 28, 1\), got \(32, 32, 3\)"):
        fgsm(small_classifier, np.zeros((2, 32, 32, 3)), np.zeros(2, int), threat=threat)
    empty = pgd(small_classifier, images[:0], labels[:0], threat=threat, steps=1, step_size=0.1)
    assert empty.shape == (0, 28, 28, 1)


def test_steps_and_step_size_out_of_range(small_classifier, digits, threat):
    for name, settings in (
        ("steps", {"steps": -1, "step_size": 0.1}),
        ("step_size", {"steps": 1, "step_size": 0.0}),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected .*more"):
            pgd(small_classifier, *digits, threat=threat, **settings)
