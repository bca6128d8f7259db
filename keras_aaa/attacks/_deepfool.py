"""DeepFool: step to the nearest linearised decision boundary."""

import tensorflow as tf

from keras_aaa.attacks._engine.loop import loss_and_gradient
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import NORMS, per_example
from keras_aaa.threat_model import ThreatModel


@attack("l2")
def deepfool(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int = 50,
    overshoot: float = 0.02,
    classes: int = 10,
) -> tf.Tensor:
    """Return the images moved to the nearest class boundaries, projected onto the ball.

    Moosavi-Dezfooli et al. 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks"; the l2 version. In a ball that is wide enough the perturbations are not changed.
    Gradients are taken one class at a time, so memory does not grow with `classes`; time does.
    Paper: Revisiting, Table 1.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: an l2 ball to project the result onto.
        steps: largest number of linearisations, >= 1.
        overshoot: fraction by which to pass the boundary, >= 0.
        classes: number of classes whose boundaries are considered, >= 2: the label, and the
            classes with the largest logits of the clean image. The paper takes all classes.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("steps", steps, 1, whole=True)
    check_number("overshoot", overshoot, 0)
    check_number("classes", classes, 2, whole=True)
    run = compiled(model, _graph, threat.norm, float(overshoot))
    moved = run(images, labels, tf.constant(steps), tf.constant(classes))
    return threat.project(moved, images)


def _graph(logits_of, norm: str, overshoot: float):
    metric = NORMS[norm]

    def run(images, labels, steps, classes):
        # No move in the box [0, 1] is longer than its diagonal. A tiny gradient would ask for one.
        longest = tf.sqrt(tf.cast(tf.size(images[0]), tf.float32))
        logits = logits_of(images)
        own = tf.one_hot(labels, tf.shape(logits)[1], on_value=-float("inf"), off_value=0.0)
        count = tf.minimum(classes, tf.shape(logits)[1]) - 1
        others = tf.math.top_k(logits + own, count).indices
        none = tf.fill(tf.shape(labels), float("inf"))

        def nearest_boundary(x):
            """Return the shortest move onto a linearised boundary, and who has left its class."""

            def body(rank, nearest, move, left):
                def gap(x):
                    logits = logits_of(x)
                    pair = tf.stack([labels, tf.cast(others[:, rank], labels.dtype)], axis=1)
                    own, other = tf.unstack(tf.gather(logits, pair, axis=1, batch_dims=1), axis=1)
                    return other - own, logits

                value, logits, gradient = loss_and_gradient(gap, x)
                direction = metric.steepest(gradient, x)
                # The gradient's length; its squares could vanish. A zero gradient has no boundary.
                slope = tf.reduce_sum(direction * gradient, axis=(1, 2, 3))
                slopes = slope > 0
                slope = tf.where(slopes, slope, 1.0)
                distance = tf.where(slopes, tf.abs(value) / slope, float("inf"))
                closer = distance < nearest
                length = tf.minimum((tf.abs(value) + 1e-4) / slope, longest)
                move = tf.where(per_example(closer), per_example(length) * direction, move)
                left = tf.argmax(logits, axis=1) != labels
                return rank + 1, tf.minimum(distance, nearest), move, left

            start = (tf.constant(0), none, tf.zeros_like(x), tf.zeros_like(labels, tf.bool))
            return tf.while_loop(
                lambda rank, nearest, move, left: (rank < count) & ~tf.reduce_all(left),
                body,
                start,
                parallel_iterations=1,
            )[2:]

        def moved(total):
            return tf.clip_by_value(images + (1 + overshoot) * total, 0.0, 1.0)

        def body(step, total, _):
            move, left = nearest_boundary(moved(total))
            total += tf.where(per_example(left), 0.0, move)
            return step + 1, total, tf.reduce_all(left)

        total = tf.while_loop(
            lambda step, _, done: (step < steps) & ~done,
            body,
            (tf.constant(0), tf.zeros_like(images), tf.constant(False)),
            parallel_iterations=1,
        )[1]
        return moved(total)

    return run
