import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.threat_model import THREAT_MODELS, ThreatModel, threat_for


def test_radii_are_the_fields():
    assert {name: t.eps for name, t in THREAT_MODELS.items()} == {
        "mnist": 0.3,
        "fashion_mnist": 0.1,
        "cifar10": 8 / 255,
    }


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_lands_in_the_ball_and_fixes_its_points(norm):
    threat = ThreatModel(norm, 0.3)
    random = np.random.default_rng(0)
    x = random.random((50, 4, 4, 1), np.float32)
    far = x + random.normal(size=x.shape).astype(np.float32)
    projected = threat.project(tf.constant(far), tf.constant(x)).numpy()
    assert threat.contains(projected, x).all()
    assert not threat.contains(far, x).any()
    np.testing.assert_allclose(threat.project(projected, x), projected, atol=1e-6)


def test_projection_by_hand():
    linf, l2 = ThreatModel("linf", 0.1), ThreatModel("l2", 0.5)
    x = np.full((1, 1, 2, 1), 0.5, np.float32)
    moved = x + np.array([0.3, -0.4], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(linf.project(moved, x).numpy().ravel(), [0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(l2.project(moved, x).numpy().ravel(), [0.8, 0.1], atol=1e-6)


def test_nan_and_pixels_outside_the_box_are_not_contained():
    threat = ThreatModel("linf", 0.3)
    x = np.ones((2, 2, 2, 1), np.float32)
    x_adv = x.copy()
    x_adv[0, 0, 0, 0] = np.nan
    x_adv[1, 0, 0, 0] = 1.1
    assert threat.contains(x_adv, x).tolist() == [False, False]


@pytest.mark.parametrize(
    "norm, eps", [("linf", -0.1), ("linf", float("nan")), ("linf", 8), ("l0", 0.1)]
)
def test_refuses_what_is_no_ball(norm, eps):
    with pytest.raises(ValueError, match=r"eps|norm"):
        ThreatModel(norm, eps)


def test_unknown_dataset_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        threat_for("cifar_10")


def test_a_perturbed_image_is_in_the_ball_and_noise_of_length_one_ends_on_its_surface():
    threat = ThreatModel("l2", 0.2)
    x = np.full((3, 4, 4, 1), 0.5, np.float32)
    noise = threat.metric.displacement(x.shape, 1.0, seed=0)
    moved = np.linalg.norm((threat.perturb(x, noise) - x).numpy().reshape(3, -1), axis=1)
    np.testing.assert_allclose(moved, 0.2, rtol=1e-4)
    assert threat.contains(threat.perturb(x, 9 * noise), x).all()


def test_forty_default_steps_cross_the_ball():
    step_size = ThreatModel("linf", 0.3).default_step_size(40)
    assert step_size == pytest.approx(0.01875) and 40 * step_size > 2 * 0.3
