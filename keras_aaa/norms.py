"""Norms as objects: what a threat model and the attacks need of each."""

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta

SMALLEST = np.finfo(np.float32).tiny  # the smallest normal number; dividing by less overflows


def per_example(values: tf.Tensor) -> tf.Tensor:
    """Return values [n] as [n, 1, 1, 1], to go with images [n, h, w, c]."""
    return tf.reshape(values, (-1, 1, 1, 1))


def _largest(x: tf.Tensor) -> tf.Tensor:
    """The largest absolute pixel of each image, [n]."""
    return tf.reduce_max(tf.abs(x), axis=(1, 2, 3))


class Linf:
    """The maximum norm: no pixel changes by more than eps."""

    order = np.inf  # as NumPy and CleverHans write it

    def length(self, x: tf.Tensor) -> tf.Tensor:
        """Return the norm of each image of [n, h, w, c], float32 [n]."""
        return _largest(x)

    def steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        """Return the direction of length 1 along which the loss rises fastest, per image."""
        return tf.sign(gradient)

    def sample(self, shape, seed: int) -> tf.Tensor:
        """Return random directions of length 1, float32 of this shape [n, h, w, c]."""
        noise = tf.random.stateless_uniform(shape, (seed, 0), -1.0, 1.0)
        return noise / per_example(self.length(noise) + 1e-12)


class L2:
    """The Euclidean norm."""

    order = 2

    def length(self, x: tf.Tensor) -> tf.Tensor:
        """Return the norm of each image of [n, h, w, c], float32 [n]."""
        return tf.sqrt(tf.reduce_sum(tf.square(x), axis=(1, 2, 3)))

    def steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        """Return the direction of length 1 along which the loss rises fastest, per image.

        A zero gradient stays zero. The squares of tiny gradients vanish in float32, so each
        gradient is first divided by its largest entry.
        """
        scaled = gradient / per_example(tf.maximum(_largest(gradient), SMALLEST))
        return scaled / per_example(tf.maximum(self.length(scaled), SMALLEST))

    def sample(self, shape, seed: int) -> tf.Tensor:
        """Return random directions of length 1, float32 of this shape [n, h, w, c]."""
        noise = tf.random.stateless_normal(shape, (seed, 0))
        return noise / per_example(self.length(noise) + 1e-12)


Norm = Linf | L2
NORMS: dict[str, Norm] = {"linf": Linf(), "l2": L2()}


def project(x_adv: tf.Tensor, x: tf.Tensor, norm: Norm, eps) -> tf.Tensor:
    """Return x_adv clipped to the ball of radius eps around x, and to [0, 1].

    Args:
        x_adv, x: float32 [n, h, w, c]; x in [0, 1].
        norm: the ball's.
        eps: radius in image units, a number or a scalar tensor.
    """
    return tf.clip_by_value(x + clip_eta(x_adv - x, norm.order, eps), 0.0, 1.0)
