"""PGD for transfer: its parts alone, and all switched off."""

import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.attacks import pgd, transfer_pgd
from keras_aaa.attacks._transfer_pgd import diverse, smoothed
from keras_aaa.threat_model import ThreatModel


@pytest.mark.parametrize("norm, eps", [("linf", 0.1), ("l2", 1.0)])
@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_without_its_other_parts_it_is_pgd_from_the_image(
    small_classifier, digits, norm, eps, momentum
):
    settings = {"threat": ThreatModel(norm, eps), "steps": 4, "step_size": eps / 4}
    expected = pgd(small_classifier, *digits, **settings, momentum=momentum, start=digits[0])
    x_adv = transfer_pgd(small_classifier, *digits, **settings, momentum=momentum, probability=0.0)
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)
    for part in ({"probability": 1.0}, {"probability": 0.0, "kernel": 3}):
        other = transfer_pgd(small_classifier, *digits, **settings, momentum=momentum, **part)
        assert np.abs(other - expected).max() > 1e-3


def test_the_seed_decides_sizes_and_places(small_classifier, digits):
    settings = {"threat": ThreatModel("linf", 0.1), "steps": 3, "step_size": 0.03}
    settings["probability"] = 1.0
    first, again, other = (
        transfer_pgd(small_classifier, *digits, **settings, seed=seed).numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_diverse_images_are_shrunk_and_placed_on_black():
    images, sides, corners = tf.ones((2, 20, 30, 1)), set(), set()
    for seed in range(200):
        shown = diverse(lambda x: x, (seed, 0), 0.5, 0.8)(images).numpy()
        np.testing.assert_array_equal(shown[0], shown[1])
        rows, columns = (np.flatnonzero(shown[0].any(axis=axis)) for axis in ((1, 2), (0, 2)))
        sides.add((len(rows), len(columns)))
        corners.add((rows[0], columns[0]))
        box = shown[0][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.testing.assert_allclose(box, 1.0, atol=1e-6)
    heights, widths = ({side[axis] for side in sides} for axis in (0, 1))
    assert heights == {16, 17, 18, 19, 20} and min(widths) == 24 and max(widths) == 30
    assert {0, 1, 2, 3} <= {row for row, _ in corners} <= {0, 1, 2, 3, 4}
    random = tf.random.stateless_uniform((1, 20, 30, 1), (0, 0))
    seen = [diverse(lambda x: x, (seed, 0), 0.5, 0.8)(random).numpy() for seed in range(200)]
    unchanged = np.mean([np.allclose(image, random, atol=1e-6) for image in seen])
    assert 0.4 < unchanged < 0.65  # half of them, and those whose size rounds to the whole


def test_the_smoothed_gradient_is_a_gaussian_around_an_impulse():
    impulse = np.zeros((1, 9, 9, 2), np.float32)
    impulse[0, 4, 4, 1] = 1.0
    rule = smoothed(lambda step, x, gradient, loss, logits, state: (gradient, state), 5)
    spread = rule(0, None, tf.constant(impulse), None, None, ())[0].numpy()[0]
    assert not spread[..., 0].any()
    np.testing.assert_allclose(spread.sum(), 1.0, rtol=1e-5)
    bell = np.exp(-0.5 * (np.arange(-2, 3) / 1.0) ** 2)  # the deviation is a fifth of the side
    expected = np.outer(bell, bell) / np.outer(bell, bell).sum()
    np.testing.assert_allclose(spread[2:7, 2:7, 1], expected, rtol=1e-5)


def test_an_even_kernel_has_no_centre(small_classifier, digits, threat):
    with pytest.raises(ValueError, match="kernel: expected an odd number, got 4"):
        transfer_pgd(small_classifier, *digits, threat=threat, steps=1, step_size=0.1, kernel=4)
