import numpy as np
import tensorflow as tf

from keras_aaa.models import build
from keras_aaa.models.float16_kernels import SMALL, fits_float16, round_kernels

SIZES = {"latent": 4}  # some of its kernels are small, some are not


def test_large_kernels_are_rounded_and_nothing_else():
    model = build("conv_dense_autoencoder", **SIZES)
    random = np.random.default_rng(0)
    before = [random.random(w.shape, np.float32) for w in model.get_weights()]
    model.set_weights(before)
    round_kernels(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        expected = old.astype(np.float16) if old.ndim > 1 and old.size >= SMALL else old
        np.testing.assert_array_equal(new, expected)
        assert np.abs(new - old).max() <= 2**-12  # half a unit of ten binary digits below 1
    # What reads the image keeps its thresholds.
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not fits_float16(before[0]) and any(fits_float16(w) for w in model.get_weights())


def test_what_float16_cannot_hold_stays():
    model = build("conv_dense_autoencoder", **SIZES)
    weights = model.get_weights()
    large = next(i for i, weight in enumerate(weights) if weight.ndim > 1 and weight.size >= SMALL)
    weights[large] = np.full_like(weights[large], 1e5)
    model.set_weights(weights)
    round_kernels(model)
    np.testing.assert_array_equal(model.get_weights()[large], weights[large])
    assert not fits_float16(weights[large]) and not fits_float16(
        np.full((2, 2), 1 + 2**-12, np.float32)
    )
    assert fits_float16(tf.Variable([[1.0, 0.5]])) and not fits_float16(tf.Variable([1.0]))
    assert not fits_float16(np.float32([[1.0], [0.1]]))  # the first row alone says nothing
