"""Norms as objects: what a threat model and the attacks need of each."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta

SMALLEST = np.finfo(np.float32).tiny  # the smallest normal number; dividing by less overflows
# x + delta, below 1 and rounded to float32, differs from the exact sum by at most this much.
ROUNDING = 2.0**-25
BISECTIONS = 30  # float32 has 24 bits


def per_example(values: tf.Tensor) -> tf.Tensor:
    """Return values [n] as [n, 1, 1, 1], to go with images [n, h, w, c]."""
    return tf.reshape(values, (-1, 1, 1, 1))


def _largest(x: tf.Tensor) -> tf.Tensor:
    """The largest absolute pixel of each image, [n]."""
    return tf.reduce_max(tf.abs(x), axis=(1, 2, 3))


def _sum(x: tf.Tensor) -> tf.Tensor:
    """The sum over the pixels of each image, [n]."""
    return tf.reduce_sum(x, axis=(1, 2, 3))


class Linf:
    """The maximum norm: no pixel changes by more than eps."""

    order = np.inf  # as NumPy and CleverHans write it

    def length(self, x: tf.Tensor) -> tf.Tensor:
        """Return the norm of each image of [n, h, w, c], float32 [n]."""
        return _largest(x)

    def dual_length(self, gradient: tf.Tensor) -> tf.Tensor:
        """Return how much the loss rises per length along the steepest direction, [n]."""
        return _sum(tf.abs(gradient))

    def steepest(self, gradient: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Return the direction of length 1 along which the loss rises fastest, per image."""
        return tf.sign(gradient)

    def displacement(self, shape, eps, seed: int, draw: int = 0) -> tf.Tensor:
        """Return random displacements of length eps, float32 of this shape [n, h, w, c]."""
        noise = tf.random.stateless_uniform(shape, (seed, draw), -1.0, 1.0)
        return eps * (noise / per_example(self.length(noise) + 1e-12))

    def clip(self, delta: tf.Tensor, x: tf.Tensor, eps) -> tf.Tensor:
        """Return the displacements nearest to `delta` whose length is at most eps."""
        return clip_eta(delta, self.order, eps)


class L2:
    """The Euclidean norm."""

    order = 2

    def length(self, x: tf.Tensor) -> tf.Tensor:
        """Return the norm of each image of [n, h, w, c], float32 [n]."""
        return tf.sqrt(_sum(tf.square(x)))

    def dual_length(self, gradient: tf.Tensor) -> tf.Tensor:
        """Return how much the loss rises per length along the steepest direction, [n]."""
        largest = tf.maximum(_largest(gradient), SMALLEST)  # tiny squares vanish
        return largest * self.length(gradient / per_example(largest))

    def steepest(self, gradient: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Return the direction of length 1 along which the loss rises fastest, per image.

        A zero gradient stays zero. The squares of tiny gradients vanish in float32, so each
        gradient is first divided by its largest entry.
        """
        scaled = gradient / per_example(tf.maximum(_largest(gradient), SMALLEST))
        return scaled / per_example(tf.maximum(self.length(scaled), SMALLEST))

    def displacement(self, shape, eps, seed: int, draw: int = 0) -> tf.Tensor:
        """Return random displacements of length eps, float32 of this shape [n, h, w, c]."""
        noise = tf.random.stateless_normal(shape, (seed, draw))
        return eps * (noise / per_example(self.length(noise) + 1e-12))

    def clip(self, delta: tf.Tensor, x: tf.Tensor, eps) -> tf.Tensor:
        """Return the displacements nearest to `delta` whose length is at most eps."""
        return clip_eta(delta, self.order, eps)


class L1:
    """The sum of the absolute changes of all pixels: few pixels may change much."""

    order = 1
    share = 0.01  # of the pixels that one step of PGD moves. Tramer and Boneh 2019, section 4.3

    def length(self, x: tf.Tensor) -> tf.Tensor:
        """Return the norm of each image of [n, h, w, c], float32 [n]."""
        return _sum(tf.abs(x))

    def dual_length(self, gradient: tf.Tensor) -> tf.Tensor:
        """Return how much the loss rises per length along the steepest direction, [n]."""
        return _largest(gradient)

    def steepest(self, gradient: tf.Tensor, x: tf.Tensor, share=None) -> tf.Tensor:
        """Return the steepest direction of length 1 with equal steps at some pixels.

        The steepest direction of all moves one pixel. Moving the pixels with the largest
        gradients together needs fewer steps (Tramer and Boneh 2019, "Adversarial Training and
        Robustness for Multiple Perturbations"; Croce and Hein 2021, "Mind the box", section 3.2).

        Args:
            gradient: float32 [n, h, w, c].
            x: the images to be moved. Pixels at 0 or 1 that the gradient pushes further are left
                out.
            share: of the pixels to move, a number or [n]; 0 moves one. None takes L1.share.
        """
        free = tf.where(gradient > 0, x < 1, x > 0)
        size = tf.where(free, tf.abs(gradient), 0.0)
        flat = tf.reshape(size, (tf.shape(size)[0], -1))
        pixels = tf.shape(flat)[1]
        count = tf.cast(tf.cast(pixels, tf.float32) * (self.share if share is None else share),
                        tf.int32)  # fmt: skip
        last = tf.broadcast_to(tf.clip_by_value(count, 1, pixels) - 1, tf.shape(flat)[:1])
        threshold = tf.gather(tf.sort(flat, direction="DESCENDING"), last, axis=1, batch_dims=1)
        signs = tf.where(size >= per_example(threshold), tf.sign(size) * tf.sign(gradient), 0.0)
        return signs / per_example(tf.maximum(self.length(signs), 1.0))

    def displacement(self, shape, eps, seed: int, draw: int = 0) -> tf.Tensor:
        """Return random displacements, float32 of this shape [n, h, w, c].

        They are standard normal. Their projection onto the ball is sparse and has the length eps,
        if [0, 1] leaves room for it.
        """
        return tf.random.stateless_normal(shape, (seed, draw))

    def clip(self, delta: tf.Tensor, x: tf.Tensor, eps) -> tf.Tensor:
        """Return the nearest displacements of length eps or less that leave x in [0, 1].

        Croce and Hein 2021, "Mind the box", proposition 2.1: every pixel shrinks by the same
        amount, down to 0 at the least, and then is cut to its room. A bisection finds the amount.
        The result is shorter than eps by what float32 may round up, so that it stays in the ball.
        """
        size, room = tf.abs(delta), tf.where(delta > 0, 1 - x, x)
        radius = eps * (1 - 1e-6)

        def shrunk(amount):
            return tf.clip_by_value(size - per_example(amount), 0.0, room)

        zero = tf.zeros_like(_largest(delta))
        _, amount = bisect(lambda a: _sum(shrunk(a)) > radius, zero, _largest(delta))
        outside = _sum(shrunk(zero)) > radius
        cut = shrunk(tf.where(outside, amount, zero))
        moved = _sum(tf.cast(cut > 0, tf.float32))
        spare = ROUNDING * moved / tf.maximum(_sum(cut), SMALLEST)
        factor = tf.where(outside, tf.maximum(1 - spare, 0.0), 1.0)
        return tf.sign(delta) * cut * per_example(factor)


Norm = Linf | L2 | L1
NORMS: dict[str, Norm] = {"linf": Linf(), "l2": L2(), "l1": L1()}


def project(x_adv: tf.Tensor, x: tf.Tensor, norm: Norm, eps) -> tf.Tensor:
    """Return x_adv clipped to the ball of radius eps around x, and to [0, 1].

    In l1 this is the nearest point of the ball and [0, 1] together. In linf and l2 it is first
    the nearest point of the ball, then of [0, 1].

    Args:
        x_adv, x: float32 [n, h, w, c]; x in [0, 1].
        norm: the ball's.
        eps: radius in image units, a number or a scalar tensor.
    """
    return tf.clip_by_value(x + norm.clip(x_adv - x, x, eps), 0.0, 1.0)


def bisect(below: Callable[[tf.Tensor], tf.Tensor], low: tf.Tensor, high: tf.Tensor):
    """Return the ends [n] of the interval, between low and high, where `below` becomes False.

    Args:
        below: values [n] -> bool [n], True below a threshold of each example.
        low, high: float32 [n].
    """

    def halve(step, low, high):
        middle = (low + high) / 2
        under = below(middle)
        return step + 1, tf.where(under, middle, low), tf.where(under, high, middle)

    return tf.while_loop(
        lambda step, *_: step < BISECTIONS,
        halve,
        (tf.constant(0), low, high),
        parallel_iterations=1,
    )[1:]
