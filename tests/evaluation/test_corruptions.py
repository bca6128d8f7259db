"""Common corruptions, by their known effects."""

import numpy as np
import pytest

from keras_aaa.evaluation.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    corrupt,
    survive_corruptions,
)


@pytest.fixture(params=[1, 3])
def images(request):
    """Smooth pictures, so that blur changes them little and noise much."""
    ramp = np.linspace(0.2, 0.8, 16, dtype=np.float32)
    picture = np.broadcast_to(ramp[None, :, None, None], (4, 16, 16, request.param))
    return np.ascontiguousarray(picture) * np.linspace(0.7, 1, request.param, dtype=np.float32)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_more_severe_is_farther_and_stays_an_image(name, images):
    distance = []
    for severity in SEVERITIES:
        corrupted = corrupt(name, images, severity).numpy()
        assert corrupted.shape == images.shape and corrupted.dtype == np.float32
        assert corrupted.min() >= 0 and corrupted.max() <= 1
        np.testing.assert_array_equal(corrupted, corrupt(name, images, severity))
        distance.append(np.abs(corrupted - images).mean())
    assert distance[0] > 0 or name == "gaussian_blur"
    assert distance[-1] > distance[0]


def test_known_values():
    images = np.full((50, 16, 16, 1), 0.5, np.float32)
    noise = corrupt("gaussian_noise", images, 1).numpy() - images
    assert noise.std() == pytest.approx(0.04, rel=0.05) and abs(noise.mean()) < 1e-3
    # Poisson: variance = mean / photons.
    shot = corrupt("shot_noise", images, 5).numpy()
    assert shot.var() == pytest.approx(0.5 / 50, rel=0.05)
    impulse = corrupt("impulse_noise", images, 5).numpy()
    assert (impulse != images).mean() == pytest.approx(0.07, rel=0.1)
    for name in ("gaussian_blur", "contrast"):  # a flat image has neither edges nor contrast
        np.testing.assert_allclose(corrupt(name, images, 5), images, atol=1e-6)
    np.testing.assert_allclose(corrupt("brightness", images, 3), images + 0.15, atol=1e-6)
    edge = np.zeros((1, 16, 16, 1), np.float32)
    edge[:, :, 8:] = 1.0
    np.testing.assert_allclose(corrupt("contrast", edge, 2), 0.25 + 0.5 * edge, atol=1e-6)


def test_survivors_by_severity(small_classifier, digits):
    images, labels = digits[0][:10], digits[1][:10]
    found = dict(survive_corruptions(small_classifier, images, labels))
    assert set(found) == set(CORRUPTIONS)
    assert all(mask.shape == (5, 10) and mask.dtype == bool for mask in found.values())


def test_unknown_names_and_severities():
    images = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="Did you mean 'contrast'"):
        corrupt("contrst", images, 1)
    with pytest.raises(ValueError, match="expected 1 to 5"):
        corrupt("contrast", images, 6)
