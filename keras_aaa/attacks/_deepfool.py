"""DeepFool: step to the nearest linearised decision boundary."""

import tensorflow as tf

from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel


@attack("l2")
def deepfool(
    model: Defence, images, labels, *, threat: ThreatModel, steps: int = 50, overshoot: float = 0.02
) -> tf.Tensor:
    """Return the images moved to the nearest class boundaries, projected onto the ball.

    Moosavi-Dezfooli et al. 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks"; the l2 version over all classes. In a ball that is wide enough the perturbations
    are not changed. Paper: Revisiting, Table 1.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: an l2 ball to project the result onto.
        steps: largest number of linearisations, >= 1.
        overshoot: fraction by which to pass the boundary, >= 0.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("steps", steps, 1, whole=True)
    check_number("overshoot", overshoot, 0)
    moved = compiled(model, _graph, float(overshoot))(images, labels, tf.constant(steps))
    return threat.project(moved, images)


def _graph(logits_of, overshoot: float):
    def gradients(x):
        """Logits [n, k] and the gradient of each of them, [n, k, h, w, c]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = logits_of(x)
        return logits, tape.batch_jacobian(logits, x)

    def run(images, labels, steps):
        def body(step, total, _):
            x = tf.clip_by_value(images + (1 + overshoot) * total, 0.0, 1.0)
            logits, jacobian = gradients(x)
            own = tf.gather(logits, labels, axis=1, batch_dims=1)[:, None]
            own_gradient = tf.gather(jacobian, labels, axis=1, batch_dims=1)[:, None]
            gap, w = logits - own, jacobian - own_gradient
            length = tf.sqrt(tf.reduce_sum(tf.square(w), axis=(2, 3, 4)))
            is_own = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False)
            distance = tf.where(is_own, float("inf"), tf.abs(gap) / (length + 1e-12))
            nearest = tf.argmin(distance, axis=1)
            near_gap, near_w, near_length = (
                tf.gather(a, nearest, axis=1, batch_dims=1) for a in (gap, w, length)
            )
            scale = (tf.abs(near_gap) + 1e-4) / (tf.square(near_length) + 1e-12)
            left = tf.argmax(logits, axis=1) != labels
            move = tf.where(per_example(left), 0.0, per_example(scale) * near_w)
            return step + 1, total + move, tf.reduce_all(left)

        total = tf.while_loop(
            lambda step, _, done: (step < steps) & ~done,
            body,
            (tf.constant(0), tf.zeros_like(images), tf.constant(False)),
            parallel_iterations=1,
        )[1]
        return tf.clip_by_value(images + (1 + overshoot) * total, 0.0, 1.0)

    return run
