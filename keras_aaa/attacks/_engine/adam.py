"""Adam, for attacks that descend by it (Kingma and Ba 2015)."""

from typing import NamedTuple

import tensorflow as tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Moments(NamedTuple):
    """The running means of the gradient and of its square, shaped as what is moved."""

    first: tf.Tensor
    second: tf.Tensor


def no_moments(x: tf.Tensor) -> Moments:
    """Return the moments before the first step."""
    return Moments(tf.zeros_like(x), tf.zeros_like(x))


def adam_step(
    x: tf.Tensor, gradient: tf.Tensor, moments: Moments, step: tf.Tensor, learning_rate: float
) -> tuple[tf.Tensor, Moments]:
    """Return x after one step down the gradient, and the new moments; graph code.

    Args:
        x, gradient: tensors of one shape.
        moments: those after the step before.
        step: int32, from 0 on.
        learning_rate: Adam's.
    """
    first = BETA_1 * moments.first + (1 - BETA_1) * gradient
    second = BETA_2 * moments.second + (1 - BETA_2) * tf.square(gradient)
    t = tf.cast(step + 1, tf.float32)
    mean, variance = first / (1 - BETA_1**t), second / (1 - BETA_2**t)
    x -= learning_rate * mean / (tf.sqrt(variance) + EPSILON)
    return x, Moments(first, second)
