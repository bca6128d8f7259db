"""Carlini and Wagner's l2 attack."""

import tensorflow as tf

from keras_aaa.attacks._engine.adam import adam_step, no_moments
from keras_aaa.attacks._engine.loop import loss_and_gradient
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks.losses import margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel

MARGIN_OF_TANH = 0.999999  # how near to 0 and 1 the change of variables may start


@attack("l2")
def carlini_wagner(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    confidence: float = 0.0,
    steps: int = 1000,
    learning_rate: float = 0.01,
    searches: int = 9,
    first_constant: float = 1e-3,
) -> tf.Tensor:
    """Return the nearest images misclassified with `confidence`, projected onto the ball.

    Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", l2 attack:
    Adam on tanh-transformed images, a binary search for the constant of each image. The clean
    image is returned if no image was misclassified. Paper: Revisiting, Table 1 (confidence 0).

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: an l2 ball to project the result onto.
        confidence: margin by which another logit must exceed the label's, >= 0.
        steps: Adam steps for each constant, >= 1.
        learning_rate: Adam's, > 0.
        searches: constants tried for each image, >= 1.
        first_constant: the first one, > 0.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("confidence", confidence, 0)
    check_number("steps", steps, 1, whole=True)
    check_number("searches", searches, 1, whole=True)
    check_number("learning_rate", learning_rate, 0, above=True)
    check_number("first_constant", first_constant, 0, above=True)
    descend = compiled(model, _graph, float(confidence), float(learning_rate))
    low, high = tf.zeros(len(labels)), tf.fill([len(labels)], float("inf"))
    constant = tf.fill([len(labels)], float(first_constant))
    nearest, found = tf.fill([len(labels)], float("inf")), images
    for _ in range(searches):
        distance, x_adv = descend(images, labels, constant, tf.constant(steps))
        fooled = distance < float("inf")
        closer = distance < nearest
        found = tf.where(per_example(closer), x_adv, found)
        nearest = tf.minimum(nearest, distance)
        high = tf.where(fooled, tf.minimum(high, constant), high)
        low = tf.where(fooled, low, tf.maximum(low, constant))
        known = high < float("inf")
        constant = tf.where(known, (low + high) / 2, constant * 10)
    return threat.project(found, images)


def _graph(logits_of, confidence: float, learning_rate: float):
    def run(images, labels, constant, steps):
        origin = tf.atanh((2 * images - 1) * MARGIN_OF_TANH)

        def to_image(w):
            return (tf.tanh(w) + 1) / 2

        def objective(w):
            x = to_image(w)
            logits = logits_of(x)
            distance = tf.reduce_sum(tf.square(x - images), axis=(1, 2, 3))
            missing = tf.maximum(margin(logits, labels) + confidence, 0.0)
            return distance + constant * missing, logits

        def body(step, w, moments, nearest, found):
            _, logits, gradient = loss_and_gradient(objective, w)
            x = to_image(w)
            other = margin(logits, labels)
            fools = (other < 0) & (other <= -confidence)
            distance = tf.reduce_sum(tf.square(x - images), axis=(1, 2, 3))
            closer = fools & (distance < nearest)
            found = tf.where(per_example(closer), x, found)
            nearest = tf.where(closer, distance, nearest)
            w, moments = adam_step(w, gradient, moments, step, learning_rate)
            return step + 1, w, moments, nearest, found

        none = tf.fill(tf.shape(labels), float("inf"))
        start = (tf.constant(0), origin, no_moments(images), none, images)
        loop = tf.while_loop(lambda step, *_: step < steps, body, start, parallel_iterations=1)
        return loop[3], loop[4]

    return run
