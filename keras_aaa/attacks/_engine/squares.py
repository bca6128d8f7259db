"""The random searches of the Square attack: how each norm starts and what it proposes.

A search has `numbers`, how many random numbers in [0, 1) a proposal takes for each image;
start(images, seed) -> images; and propose(query, images, best, random) -> images.
"""

import math

import numpy as np
import tensorflow as tf

from keras_aaa.norms import SMALLEST, per_example
from keras_aaa.threat_model import ThreatModel

P_INIT = 0.8
# Queries after which a square's share of the image is halved: those of a budget of 10,000, which
# AutoAttack takes for any budget.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
TILES = 5  # along each side of the image, of the start in l2 and l1


def share(query: int) -> float:
    """Return the share of the image that a square covers at `query`."""
    return P_INIT / 2 ** sum(query > halving for halving in HALVINGS)


class Squares:
    """The search in linf: squares of +-eps. Andriushchenko et al. 2020, algorithm 2."""

    def __init__(self, threat: ThreatModel, queries: int, shape: tuple[int, int, int]):
        self.threat, (self.h, self.w, self.c) = threat, shape
        largest = max(min(self.h, self.w) - 1, 1)
        whole = [round(math.sqrt(share(query) * self.h * self.w)) for query in range(queries)]
        self.sides = tf.constant([min(max(side, 1), largest) for side in whole])
        self.numbers = 2 + self.c

    def start(self, images, seed: tuple[int, int]):
        """Return the images with random vertical stripes."""
        stripes = tf.random.stateless_uniform((len(images), 1, self.w, self.c), seed, -1.0, 1.0)
        return tf.clip_by_value(images + self.threat.eps * tf.sign(stripes), 0.0, 1.0)

    def propose(self, query, images, best, random):
        """Return `best` with one square at an edge of the ball."""
        signs = 2 * tf.round(random[:, 2:]) - 1
        side = self.sides[query]
        mask = _window(self.h, self.w, side, random[:, 0], random[:, 1])
        # A change of 2 eps ends at an edge of the ball. Computed from the clean image, an edge
        # has one exact value, so that squares without an effect are recognised.
        edge = tf.clip_by_value(images + self.threat.eps * signs[:, None, None, :], 0.0, 1.0)
        return tf.where(mask, edge, best)


class Bumps:
    """The search in l2 and l1: pairs of bumps, each of which takes length from another window.

    Andriushchenko et al. 2020, algorithm 3; l1: Croce and Hein 2021.
    """

    def __init__(self, threat: ThreatModel, queries: int, shape: tuple[int, int, int]):
        self.threat, (self.h, self.w, self.c) = threat, shape
        self.order = threat.metric.order
        shortest = min(self.h, self.w)
        sides = [round(math.sqrt(share(query) * self.h * self.w)) for query in range(queries)]
        sides = [min(max(side, 3) // 2 * 2 + 1, shortest) for side in sides]
        known = sorted(set(sides))
        self.sides = tf.constant(sides)
        self.index = tf.constant([known.index(side) for side in sides])
        # The row and the column after the last one are zero: where no bump is.
        size = known[-1] + 1
        shapes = np.zeros((len(known), size, size), np.float32)
        for each, side in zip(shapes, known, strict=True):
            each[:side, :side] = bumps(side, self.order)
        self.shapes = tf.constant(shapes)
        self.numbers = 5 + self.c

    def start(self, images, seed: tuple[int, int]):
        """Return the images with pairs of bumps in tiles, 5 x 5 if there are as many pixels."""
        side = max(min(self.h, self.w) // TILES, 1)
        rows, columns = min(TILES, self.h // side), min(TILES, self.w // side)
        random = tf.random.stateless_uniform((len(images), rows, columns, 1 + self.c), seed)
        signs = 2 * tf.round(random[..., 1:]) - 1
        shape = tf.constant(bumps(side, self.order))
        turned = random[..., :1, None, None] > 0.5
        shape = tf.where(turned, tf.transpose(shape), shape)  # [n, rows, columns, 1, side, side]
        tiles = tf.transpose(shape * signs[..., None, None], (0, 1, 4, 2, 5, 3))
        tiles = tf.reshape(tiles, (len(images), rows * side, columns * side, self.c))
        top, left = (self.h - rows * side) // 2, (self.w - columns * side) // 2
        below, right = self.h - rows * side - top, self.w - columns * side - left
        delta = tf.pad(tiles, ((0, 0), (top, below), (left, right), (0, 0)))
        return self._onto_sphere(images, delta)

    def propose(self, query, images, best, random):
        """Return `best` with a new pair of bumps in one window and no change in another."""
        side, delta = self.sides[query], best - images
        to = _window(self.h, self.w, side, random[:, 0], random[:, 1])
        source = _window(self.h, self.w, side, random[:, 2], random[:, 3])
        turned = random[:, 4] > 0.5
        signs = 2 * tf.round(random[:, 5:]) - 1
        bump = self._placed(query, random, turned) * signs[:, None, None, :]
        new = tf.where(to, bump + self._unit(tf.where(to, delta, 0.0)), 0.0)
        # What the ball has left, in equal parts for the channels, and what the windows release.
        left = self.threat.eps**self.order - self._powers(delta, (1, 2, 3))
        released = self._powers(tf.where(to | source, delta, 0.0), (1, 2))
        budget = tf.maximum(left, 0.0) / self.c + released
        # In l1 the projection cuts what is too long, as in the reference implementation.
        new = self._unit(new) * (tf.sqrt(budget) if self.order == 2 else self.c * budget)
        return self._onto_sphere(images, tf.where(to, new, tf.where(source, 0.0, delta)))

    def _placed(self, query, random, turned):
        """Return the pair of bumps of each image in its window, [n, h, w, 1]."""
        side = self.sides[query]
        none = tf.shape(self.shapes)[1] - 1

        def index(size, where):
            offset = tf.range(size)[None, :] - _begin(size, side, where)[:, None]
            return tf.where((offset >= 0) & (offset < side), offset, none)

        rows = index(self.h, random[:, 0])[:, :, None]
        columns = index(self.w, random[:, 1])[:, None, :]
        rows, columns = tf.broadcast_to(rows, tf.shape(rows + columns)), columns + 0 * rows
        swap = turned[:, None, None]
        at = tf.stack([tf.where(swap, columns, rows), tf.where(swap, rows, columns)], axis=-1)
        return tf.gather_nd(self.shapes[self.index[query]], at)[..., None]

    def _unit(self, delta):
        """Return delta with channels of length 1, or 0."""
        powers = self._powers(delta, (1, 2))
        length = tf.sqrt(powers) if self.order == 2 else powers
        return delta / tf.maximum(length, SMALLEST)

    def _powers(self, delta, axis):
        """Return the length along the axes, to the power of the norm's order."""
        powers = tf.square(delta) if self.order == 2 else tf.abs(delta)
        return tf.reduce_sum(powers, axis=axis, keepdims=True)

    def _onto_sphere(self, images, delta):
        """Return images + delta, made as long as the ball allows."""
        length = self.threat.metric.length(delta)
        if self.order == 2:
            delta *= per_example(self.threat.eps / tf.maximum(length, SMALLEST))
        return self.threat.project(images + delta, images)


def bumps(side: int, order: float) -> np.ndarray:
    """Return a positive bump above a negative one, float32 [side, side], of length 1.

    Andriushchenko et al. 2020, equation 3: pyramids of squares around each centre, whose heights
    decay with the square of the distance; in l1 with its fourth power.
    """
    upper = side // 2
    both = np.concatenate([_bump(upper, side, order), -_bump(side - upper, side, order)])
    return (both / np.linalg.norm(both.ravel(), ord=order)).astype(np.float32)


def _bump(height: int, width: int, order: float) -> np.ndarray:
    bump = np.zeros((height, width))
    top, left = height // 2, width // 2
    for ring in range(max(top, left) + 1):
        rows = slice(max(top - ring, 0), top + ring + 1)
        columns = slice(max(left - ring, 0), left + ring + 1)
        bump[rows, columns] += 1 / (ring + 1) ** (2 if order == 2 else 4)
    length = np.linalg.norm(bump.ravel(), ord=order)
    return bump / length if length else bump


def _begin(size: int, side, random):
    """Return the first pixel, [n], of `side` pixels at a random place."""
    return tf.cast(random * tf.cast(size - side + 1, tf.float32), tf.int32)


def _window(h: int, w: int, side, row, column):
    """Return [n, h, w, 1]: True in a square at a random place."""

    def span(size, random):
        begin, pixel = _begin(size, side, random)[:, None], tf.range(size)[None, :]
        return (pixel >= begin) & (pixel < begin + side)

    return (span(h, row)[:, :, None] & span(w, column)[:, None, :])[..., None]


SEARCHES = {"linf": Squares, "l2": Bumps, "l1": Bumps}
