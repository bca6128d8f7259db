"""The rules by which Auto-PGD moves: with momentum and halved steps, and the sparse one of l1.

A rule is a pair: move(step, x, gradient, loss, images, state) -> (unprojected x, state), and
first_state(images, start) -> what the rule carries from step to step. The state also holds
x_best, g_best and best: the best point so far, its gradient and its loss.
"""

import tensorflow as tf

from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel

MOMENTUM, RHO = 0.75, 0.75
# Of the l1 rule, as in the reference implementation: share of the steps between two reviews; pixels
# that moved for each pixel to move; divisor of the step size; smallest part of the first step size.
REVIEW, SPARSER, SHORTER, SHORTEST = 0.04, 1.5, 1.5, 0.1
SETTLED = 0.95  # The sparsity still changes if fewer than this part of the pixels is left.


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which the step size is reviewed.

    Croce and Hein 2020, section 3.2: p_0 = 0, p_1 = 0.22; each gap is 0.03 shorter than the one
    before it, but at least 0.06.
    """
    gap, shortest, shrink = (max(int(f * steps), 1) for f in (0.22, 0.06, 0.03))
    reviews, step = [], gap
    while step <= steps:
        reviews.append(step)
        gap = max(gap - shrink, shortest)
        step += gap
    return reviews


def with_momentum(threat: ThreatModel, steps: int):
    """The rule for linf and l2. Croce and Hein 2020, algorithm 1."""
    looks = tf.constant([step in checkpoints(steps) for step in range(steps + 1)])
    gaps = {b: b - a for a, b in zip([0, *checkpoints(steps)], checkpoints(steps), strict=False)}
    gap = tf.constant([float(gaps.get(step, 0)) for step in range(steps + 1)])

    def move(step, x, gradient, value, images, s):
        s["rises"] += tf.cast(value > s["last"], tf.float32)
        s["last"] = value
        # Halve the step if the loss rose too seldom, or if neither the best loss nor the step
        # changed since the last review.
        look = looks[step]
        seldom = s["rises"] <= RHO * gap[step]
        stuck = ~s["halved"] & (s["best"] <= s["best_at_look"])
        halve = look & (seldom | stuck)
        s["step"] = tf.where(halve, s["step"] / 2, s["step"])
        s["halved"] = tf.where(look, halve, s["halved"])
        s["best_at_look"] = tf.where(look, s["best"], s["best_at_look"])
        s["rises"] = tf.where(look, tf.zeros_like(s["rises"]), s["rises"])
        here = tf.where(per_example(halve), s["x_best"], x)
        gradient = tf.where(per_example(halve), s["g_best"], gradient)

        length = per_example(s["step"])
        ahead = threat.project(here + length * threat.metric.steepest(gradient, here), images)
        weight = tf.where(step == 0, 1.0, MOMENTUM)
        moved = here + weight * (ahead - here) + (1 - weight) * (here - s["previous"])
        s["previous"] = here
        return moved, s

    def first_state(images, start):
        zeros = tf.zeros(tf.shape(images)[0])
        return {
            "best_at_look": zeros - float("inf"),
            "last": zeros + float("inf"),
            "rises": zeros,
            "halved": zeros == 0,
            "step": zeros + 2 * threat.eps,
            "previous": start,
        }

    return move, first_state


def sparse(threat: ThreatModel, steps: int):
    """The rule for l1. Croce and Hein 2021, "Mind the box", algorithm 1.

    The pixels to move are fewer than those that the best point moved so far. A step is short only
    while their number is stable.
    """
    gap = max(int(REVIEW * steps), 1)

    def move(step, x, gradient, value, images, s):
        look = (step > 0) & (step % gap == 0)
        moved = _moved_pixels(s["x_best"], images)
        sparser = look & (moved < SETTLED * s["moved"])
        shorter = tf.maximum(s["step"] / SHORTER, SHORTEST * threat.eps)
        s["step"] = tf.where(look, tf.where(sparser, threat.eps, shorter), s["step"])
        s["moved"] = tf.where(look, moved, s["moved"])
        here = tf.where(per_example(sparser), s["x_best"], x)
        gradient = tf.where(per_example(sparser), s["g_best"], gradient)
        share = s["moved"] / (SPARSER * tf.cast(tf.size(images[0]), tf.float32))
        direction = threat.metric.steepest(gradient, here, share)
        return here + per_example(s["step"]) * direction, s

    def first_state(images, start):
        moved = _moved_pixels(start, images)
        return {"moved": moved, "step": tf.zeros_like(moved) + threat.eps}

    return move, first_state


def _moved_pixels(x: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(x != images, tf.float32), axis=(1, 2, 3))


RULES = {"linf": with_momentum, "l2": with_momentum, "l1": sparse}
