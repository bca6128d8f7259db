"""FAB: find the nearest adversarial image along linearised decision boundaries."""

import tensorflow as tf

from keras_aaa.attacks._engine.loop import ascend, loss_and_gradient
from keras_aaa.attacks._engine.planes import onto_plane
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks._engine.restarts import with_restarts
from keras_aaa.attacks.losses import margin, targeted_margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import NORMS, SMALLEST, per_example
from keras_aaa.threat_model import ThreatModel

# Constants of the paper: largest bias towards the original, overshoot, backward step.
ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9
START = 0.5  # the length of a restart's displacement, in eps


@attack()
def fab(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int = 100,
    targets=None,
    restarts: int = 1,
    seed: int = 0,
) -> tf.Tensor:
    """Return the nearest misclassified images; the clean image if none was found in the ball.

    Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary
    attack". The defaults are the reference implementation's.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball.
        steps: number of gradient steps, >= 1.
        targets: int64 [n]; the attack moves towards the boundaries of these classes. None for the
            nearest boundary in each step, which takes one gradient for each class.
        restarts: number of starts, >= 1: the image, then random points at half of eps. Images
            still classified correctly try the next.
        seed: of the random starts.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("steps", steps, 1, whole=True)
    run = compiled(model, _graph, threat, targets is not None)
    towards = labels if targets is None else targets

    def once(x, y, t, draw):
        start = x
        if draw:
            near = ThreatModel(threat.norm, START * threat.eps)
            start = near.project(x + near.metric.displacement(tf.shape(x), near.eps, seed, draw), x)
        return run(x, y, t, start, tf.constant(steps))

    return with_restarts(once, model, (images, labels, towards), restarts)


def _graph(logits_of, threat: ThreatModel, targeted: bool):
    norm = threat.metric

    def run(images, labels, targets, start, steps):
        def towards(classes):
            def boundary(x):
                logits = logits_of(x)
                return targeted_margin(logits, labels, classes), logits

            return boundary

        def nearest(loss, x):
            """Return the linearised boundary, of all wrong classes, that is nearest to x."""
            value, logits, gradient = loss_and_gradient(loss, x)  # of class 0

            def consider(k, nearest, value, gradient):
                value_k, _, gradient_k = loss_and_gradient(towards(tf.fill(tf.shape(labels), k)), x)
                distance = tf.abs(value_k) / tf.maximum(norm.dual_length(gradient_k), SMALLEST)
                closer = (labels != k) & (distance < nearest)
                return (
                    k + 1,
                    tf.where(closer, distance, nearest),
                    tf.where(closer, value_k, value),
                    tf.where(per_example(closer), gradient_k, gradient),
                )

            classes = tf.shape(logits, tf.int64)[1]
            begin = (tf.constant(0, tf.int64), tf.fill(tf.shape(labels), float("inf")))
            _, _, value, gradient = tf.while_loop(
                lambda k, *_: k < classes,
                consider,
                (*begin, value, gradient),
                parallel_iterations=1,
            )
            return value, logits, gradient

        def rule(step, x, gradient, value, logits, state):
            shortest, best = state
            both = tf.concat([x, images], axis=0)
            at_images = value + tf.reduce_sum(gradient * (images - x), axis=(1, 2, 3))
            residual = tf.concat([value, at_images], axis=0)
            d = onto_plane(both, tf.concat([gradient, gradient], axis=0), residual, threat.norm)
            d_x, d_images = tf.split(d, 2)
            a_x, a_images = norm.length(d_x), norm.length(d_images)
            alpha = tf.minimum(tf.math.divide_no_nan(a_x, a_x + a_images), ALPHA_MAX)
            alpha = per_example(alpha)
            ahead = (1 - alpha) * (x + ETA * d_x) + alpha * (images + ETA * d_images)
            ahead = tf.clip_by_value(ahead, 0.0, 1.0)

            fools, distance = margin(logits_of(ahead), labels) < 0, norm.length(ahead - images)
            closer = fools & (distance < shortest)
            best = tf.where(per_example(closer), ahead, best)
            back = images + BETA * (ahead - images)
            x = tf.where(per_example(fools), back, ahead)
            return x, (tf.where(closer, distance, shortest), best)

        _, (shortest, best) = ascend(
            towards(targets if targeted else tf.zeros_like(labels)),
            images,
            start,
            norm=NORMS["linf"],  # The iterates may leave the ball, but not [0, 1].
            eps=1.0,
            steps=steps,
            rule=rule,
            state=(tf.fill(tf.shape(labels), float("inf")), images),
            differentiate=loss_and_gradient if targeted else nearest,
        )
        return tf.where(per_example(shortest <= threat.eps), best, images)

    return run
