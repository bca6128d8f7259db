"""SPSA: gradients estimated from queries."""

import tensorflow as tf

from keras_aaa.attacks._engine.adam import adam_step, no_moments
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks.losses import margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel


@attack("linf", "l2")
def spsa(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int = 100,
    samples: int = 32,
    delta: float = 0.01,
    learning_rate: float = 0.01,
    seed: int = 0,
) -> tf.Tensor:
    """Return the images after `steps` Adam steps along estimated gradients of the margin.

    Uesato et al. 2018, "Adversarial Risk and the Dangers of Evaluating Against Weak Attacks".
    It takes 2 * samples * steps queries per image.

    Args:
        model: images -> logits; only its outputs are used.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: an l-infinity or l2 ball to stay in.
        steps: number of steps, >= 1.
        samples: pairs of antithetic random signs per step, >= 1.
        delta: distance of a pair from the image, in image units, > 0.
        learning_rate: of Adam, in image units, > 0.
        seed: of the random signs.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("steps", steps, 1, whole=True)
    check_number("samples", samples, 1, whole=True)
    check_number("delta", delta, 0, above=True)
    check_number("learning_rate", learning_rate, 0, above=True)
    run = compiled(model, _graph, threat, samples, float(delta), float(learning_rate))
    return run(images, labels, tf.constant(steps), tf.constant(seed))


def _graph(logits_of, threat: ThreatModel, samples: int, delta: float, learning_rate: float):
    def run(images, labels, steps, seed):
        def estimate(x, step):
            def pair(sample, total):
                at = (seed, step * samples + sample)
                signs = 2 * tf.round(tf.random.stateless_uniform(tf.shape(x), at)) - 1
                ahead, behind = (margin(logits_of(x + d * signs), labels) for d in (delta, -delta))
                return sample + 1, total + per_example((ahead - behind) / (2 * delta)) * signs

            start = (tf.constant(0), tf.zeros_like(x))
            loop = tf.while_loop(lambda s, _: s < samples, pair, start, parallel_iterations=1)
            return loop[1] / samples

        def body(step, x, moments):
            x, moments = adam_step(x, estimate(x, step), moments, step, learning_rate)
            return step + 1, threat.project(x, images), moments

        start = (tf.constant(0), images, no_moments(images))
        return tf.while_loop(lambda s, *_: s < steps, body, start, parallel_iterations=1)[1]

    return run
