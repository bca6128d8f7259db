"""Shortest steps onto a plane inside [0, 1], for FAB."""

import tensorflow as tf

from keras_aaa.norms import SMALLEST, bisect, per_example

NEWTON_STEPS = 12
FAR = 1e30  # farther than any plane in reach; its products are finite


def onto_plane(x: tf.Tensor, w: tf.Tensor, residual: tf.Tensor, norm: str) -> tf.Tensor:
    """Return the shortest d with w . d = -residual and x + d in [0, 1], or the nearest in the box.

    Args:
        x: the point, float32 [n, h, w, c] in [0, 1].
        w: the normal of the plane, shaped as x.
        residual: [n].
        norm: measures d.
    """
    # In units of the largest weight, whose square may vanish in float32.
    largest = tf.maximum(tf.reduce_max(tf.abs(w), axis=(1, 2, 3)), SMALLEST)
    w, residual = w / per_example(largest), tf.clip_by_value(residual / largest, -FAR, FAR)
    direction = -tf.sign(w) * per_example(tf.sign(residual))
    room = tf.where(direction > 0, 1 - x, x) * tf.abs(direction)
    return direction * LENGTHS[norm](tf.abs(w), room, tf.abs(residual))


def _along(speed, weight, room, target):
    """Return min(t speed, room), [n, h, w, c], for the t at which the weighted sum is `target`.

    The sum is concave in t, so that Newton's method from t = 0 rises to the solution without
    sorting.
    """
    t = tf.zeros_like(target)
    for _ in range(NEWTON_STEPS):
        moved = tf.minimum(per_example(t) * speed, room)
        left = target - tf.reduce_sum(weight * moved, axis=(1, 2, 3))
        free = tf.cast(per_example(t) * speed < room, tf.float32)
        slope = tf.reduce_sum(weight * speed * free, axis=(1, 2, 3))
        t += tf.maximum(tf.math.divide_no_nan(left, slope), 0.0)
    return tf.minimum(per_example(t) * speed, room)


def _heaviest_first(weight, room, target):
    """Return the shortest moves in l1, [n, h, w, c]: the heaviest pixels move to their ends.

    The last pixel to move goes only part of its way. Pixels whose weights differ by less than the
    bisection resolves share that part.
    """

    def reach(above):
        return tf.reduce_sum(
            tf.where(weight > per_example(above), weight * room, 0.0), axis=(1, 2, 3)
        )

    largest = tf.reduce_max(weight, axis=(1, 2, 3))
    zero = tf.zeros_like(largest)
    low, high = bisect(lambda threshold: reach(threshold) > target, zero, largest)
    at_high = reach(high)
    part = tf.math.divide_no_nan(target - at_high, reach(low) - at_high)
    part = per_example(tf.clip_by_value(part, 0.0, 1.0))
    last = (weight > per_example(low)) & (weight <= per_example(high))
    return tf.where(weight > per_example(high), room, tf.where(last, part * room, 0.0))


# norm -> (absolute weights, room, target) -> absolute moves. Along the steepest direction each
# pixel contributes |w| min(t speed, room) to the sum.
LENGTHS = {
    "linf": lambda weight, *rest: _along(tf.ones_like(weight), weight, *rest),
    "l2": lambda weight, *rest: _along(weight, weight, *rest),
    "l1": _heaviest_first,
}
