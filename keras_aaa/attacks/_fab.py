"""Targeted FAB: find the nearest adversarial image along linearised decision boundaries."""

import math

import tensorflow as tf

from keras_aaa.attacks._engine.loop import ascend
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks.losses import margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel

# Constants of the paper: largest bias towards the original, overshoot, backward step.
ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9
NEWTON_STEPS = 12


@attack()
def fab(model: Defence, images, labels, *, threat: ThreatModel, steps: int, targets) -> tf.Tensor:
    """Return the nearest misclassified images; the clean image if none was found in the ball.

    Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary
    attack"; the targeted version, as in AutoAttack. A backward step counts as a step.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball.
        steps: number of gradient steps, >= 1 (100 in AutoAttack).
        targets: int64 [n]; the attack moves towards the boundaries of these classes.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("steps", steps, 1, whole=True)
    # The size of the images is a constant of the graph.
    return compiled(model, _graph, threat, images.shape[1:])(
        images, labels, tf.cast(targets, tf.int64), tf.constant(steps)
    )


def onto_plane(x: tf.Tensor, w: tf.Tensor, residual: tf.Tensor, threat: ThreatModel) -> tf.Tensor:
    """Return the shortest d with w . d = -residual and x + d in [0, 1], or the nearest in the box.

    Along the steepest direction each pixel contributes |w| min(t speed, room) to the sum. The sum
    is concave in t, so that Newton's method from t = 0 rises to the solution without sorting.

    Args:
        x: the point, float32 [n, h, w, c] in [0, 1].
        w: the normal of the plane, shaped as x.
        residual: [n].
        threat: its norm measures d.
    """
    direction = -tf.sign(w) * per_example(tf.sign(residual))
    room = tf.where(direction > 0, 1 - x, x) * tf.abs(direction)
    weight = tf.abs(w)
    speed = tf.ones_like(w) if threat.norm == "linf" else weight
    t = tf.zeros_like(residual)
    for _ in range(NEWTON_STEPS):
        moved = tf.minimum(per_example(t) * speed, room)
        left = tf.abs(residual) - tf.reduce_sum(weight * moved, axis=(1, 2, 3))
        free = tf.cast(per_example(t) * speed < room, tf.float32)
        slope = tf.reduce_sum(weight * speed * free, axis=(1, 2, 3))
        t += tf.maximum(tf.math.divide_no_nan(left, slope), 0.0)
    return direction * tf.minimum(per_example(t) * speed, room)


def _graph(logits_of, threat: ThreatModel, shape: tf.TensorShape):
    length = threat.metric.length
    # The iterates may leave the ball: with this radius only [0, 1] bounds them.
    unbounded = math.sqrt(shape.num_elements())

    def run(images, labels, targets, steps):

        def boundary(x):
            logits = logits_of(x)
            own, other = (tf.gather(logits, c, axis=1, batch_dims=1) for c in (labels, targets))
            return other - own, logits

        def rule(step, x, gradient, value, logits, state):
            nearest, best = state
            fools, distance = margin(logits, labels) < 0, length(x - images)
            closer = fools & (distance < nearest)
            best = tf.where(per_example(closer), x, best)
            nearest = tf.where(closer, distance, nearest)

            both = tf.concat([x, images], axis=0)
            at_images = value + tf.reduce_sum(gradient * (images - x), axis=(1, 2, 3))
            residual = tf.concat([value, at_images], axis=0)
            d = onto_plane(both, tf.concat([gradient, gradient], axis=0), residual, threat)
            d_x, d_images = tf.split(d, 2)
            a_x, a_images = length(d_x), length(d_images)
            alpha = tf.minimum(tf.math.divide_no_nan(a_x, a_x + a_images), ALPHA_MAX)
            alpha = per_example(alpha)
            ahead = (1 - alpha) * (x + ETA * d_x) + alpha * (images + ETA * d_images)
            back = images + BETA * (x - images)
            return tf.where(per_example(fools), back, ahead), (nearest, best)

        state = (tf.zeros(tf.shape(labels)) + float("inf"), images)
        x, (nearest, best) = ascend(
            boundary,
            images,
            images,
            norm=threat.metric,
            eps=unbounded,
            steps=steps,
            rule=rule,
            state=state,
        )
        distance = length(x - images)
        closer = (margin(logits_of(x), labels) < 0) & (distance < nearest)
        best = tf.where(per_example(closer), x, best)
        inside = tf.where(closer, distance, nearest) <= threat.eps
        return tf.where(per_example(inside), best, images)

    return run
