"""Kernels in half the bytes: rounded to float16 once, stored so, computed with in float32."""

import keras
import numpy as np

# Below it a kernel's rounding saves less than 20 kB. Among the small ones are those that read the
# image, which adversarial training turns into thresholds at eps: moved by a ten-thousandth, they
# let a gradient through (on the MNIST defence trained by mse PGD-40 then felled 0.8 points more,
# AutoAttack as many as before of the first 256).
SMALL = 10_000


def round_kernels(model: keras.Model) -> None:
    """Round a model's kernels to the nearest float16 values, in place; the rest stays as it is.

    A kernel is any weight of two or more axes. One of fewer than SMALL entries stays, and one with
    entries beyond float16's range (65,504).

    Args:
        model: a keras.Model; its weights stay float32 in memory.
    """
    model.set_weights(
        [
            _rounded(weight) if weight.ndim > 1 and weight.size >= SMALL else weight
            for weight in model.get_weights()
        ]
    )


def _rounded(weight: np.ndarray) -> np.ndarray:
    half = _to_half(weight)
    return half if np.isfinite(half).all() else weight


def fits_float16(weight) -> bool:
    """Whether a weight of two or more axes loses nothing when it is stored as float16.

    Args:
        weight: float32 variable or array. One that has more digits in its first row is not read
            further, so that a large one (a bank of latents) is not copied.
    """
    return len(weight.shape) > 1 and all(_fits(np.asarray(part)) for part in (weight[:1], weight))


def _fits(weight: np.ndarray) -> bool:
    return np.array_equal(_to_half(weight), weight)


def _to_half(weight: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is infinite, which the callers look for
        return weight.astype(np.float16).astype(weight.dtype)
