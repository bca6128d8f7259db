"""HopSkipJump: find the nearest misclassified image by the model's decisions alone."""

import math

import tensorflow as tf

from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import NORMS, per_example
from keras_aaa.threat_model import ThreatModel

TRIES = 100  # random images that may start an attack
FIRST_DELTA = 0.1  # length of the first iteration's random steps, for images in [0, 1]
# Shortest random step per pixel. A shorter one is lost when it is added to a pixel in float32.
SHORTEST = 1e-6
BITS = 24  # of float32: more bisections or halvings change nothing


@attack("linf", "l2")
def hop_skip_jump(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    iterations: int = 64,
    first_evaluations: int = 100,
    max_evaluations: int = 10_000,
    start=None,
    seed: int = 0,
) -> tf.Tensor:
    """Return the nearest misclassified images, projected onto the ball.

    Chen, Jordan and Wainwright 2020, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack",
    algorithm 2, untargeted. Each iteration bisects to the decision boundary, estimates the
    boundary's normal from random steps, and jumps along it. The distance is that of the threat's
    norm. The clean image is returned if no misclassified image was found.

    Iteration t evaluates first_evaluations * sqrt(t) random steps. The defaults ask about 36,000
    queries per image.

    Args:
        model: images -> logits; only the class with the largest one is used.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: a ball to project the result onto; its norm is the distance.
        iterations: number of iterations, >= 1.
        first_evaluations: random steps in the first iteration, >= 2 (100 in the paper).
        max_evaluations: largest number of random steps in an iteration, >= 2 (10,000 in the paper).
        start: images [n, h, w, c] in [0, 1] to start from. Noise between two random grey levels
            replaces images that are not misclassified, or None; up to TRIES are tried.
        seed: of the start and the random steps.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("iterations", iterations, 1, whole=True)
    check_number("first_evaluations", first_evaluations, 2, whole=True)
    check_number("max_evaluations", max_evaluations, 2, whole=True)
    run = compiled(model, _graph, threat.norm, images.shape[1:].num_elements())
    numbers = map(tf.constant, (iterations, first_evaluations, max_evaluations, seed))
    start = images if start is None else tf.clip_by_value(tf.cast(start, tf.float32), 0.0, 1.0)
    return threat.project(run(images, labels, start, *numbers), images)


def _graph(logits_of, norm: str, pixels: int):
    metric = NORMS[norm]
    # The paper's precision of the bisection: d^(-3/2) of the distance for l2, d^(-2) for linf.
    power = 1.5 if norm == "l2" else 2.0
    bits = min(max(math.ceil(power * math.log2(pixels)), 1), BITS)

    def run(images, labels, start, iterations, first, most, seed):
        def fools(x):
            return tf.argmax(logits_of(x), axis=1) != labels

        def between(x, share):
            """Return the image at this share [n] of the distance from the clean image to x."""
            if norm == "l2":
                return images + per_example(share) * (x - images)
            reach = per_example(share * metric.length(x - images))
            return tf.clip_by_value(x, images - reach, images + reach)

        def to_boundary(x):
            """Bisect; x and the result are misclassified."""

            def body(bit, low, high, nearest):
                middle = (low + high) / 2
                trial = between(x, middle)
                fooled = fools(trial)
                nearest = tf.where(per_example(fooled), trial, nearest)
                low, high = tf.where(fooled, low, middle), tf.where(fooled, middle, high)
                return bit + 1, low, high, nearest

            zeros = tf.zeros(tf.shape(labels))
            return _loop(lambda bit, *_: bit < bits, body, (tf.constant(0), zeros, zeros + 1, x))[3]

        def normal(x, delta, count, drawn):
            """Estimate the direction into the misclassified region (equation 16)."""

            def body(sample, total, weighted, answers):
                u = _directions(norm, tf.shape(x), (seed, drawn + sample))
                ahead = tf.clip_by_value(x + per_example(delta) * u, 0.0, 1.0)
                u = (ahead - x) / per_example(delta)  # without the clipped part
                answer = 2 * tf.cast(fools(ahead), tf.float32) - 1
                return sample + 1, total + u, weighted + per_example(answer) * u, answers + answer

            start = (tf.constant(0), tf.zeros_like(x), tf.zeros_like(x), tf.zeros(tf.shape(labels)))
            loop = _loop(lambda sample, *_: sample < count, body, start)
            total, weighted, mean = loop[1], loop[2], loop[3] / tf.cast(count, tf.float32)
            # The baseline lowers the variance. Equal answers leave only their sign.
            baseline = tf.where(tf.abs(mean) < 1, mean, 0.0)
            return metric.steepest(weighted - per_example(baseline) * total, x)

        def jump(x, direction, length):
            """Step as far as a halved length still ends in the misclassified region."""

            def body(halving, length, ahead, landed):
                trial = tf.clip_by_value(x + per_example(length) * direction, 0.0, 1.0)
                fooled = fools(trial) & ~landed
                ahead = tf.where(per_example(fooled), trial, ahead)
                return halving + 1, length / 2, ahead, landed | fooled

            def going(halving, length, ahead, landed):
                return (halving < BITS) & ~tf.reduce_all(landed)

            start = (tf.constant(0), length, x, tf.zeros_like(labels, tf.bool))
            return _loop(going, body, start)[2]

        def body(t, x, drawn, best, nearest):
            distance = metric.length(x - images)
            closer = distance < nearest
            best = tf.where(per_example(closer), x, best)
            root = tf.sqrt(tf.cast(t, tf.float32))
            count = tf.minimum(tf.cast(tf.cast(first, tf.float32) * root, tf.int32), most)
            delta = tf.maximum(distance / pixels, SHORTEST * math.sqrt(pixels))
            delta = tf.where(t == 1, FIRST_DELTA, delta)
            direction = normal(x, delta, count, drawn)
            x = to_boundary(jump(x, direction, distance / root))
            return t + 1, x, drawn + count, best, tf.minimum(distance, nearest)

        start = tf.where(per_example(fools(images)), images, start)
        begun, start = _begin(fools, start, seed)
        far = tf.fill(tf.shape(labels), float("inf"))
        state = (tf.constant(1), to_boundary(start), tf.constant(2 * TRIES), start, far)
        loop = _loop(lambda t, *_: t <= iterations, body, state)
        x, best, nearest = loop[1], loop[3], loop[4]
        best = tf.where(per_example(metric.length(x - images) < nearest), x, best)
        return tf.where(per_example(begun), best, images)

    return run


def _loop(going, body, start):
    """Run tf.while_loop, one iteration at a time, with the static shapes of the start."""

    def step(*state):
        return tf.nest.map_structure(
            lambda new, old: tf.ensure_shape(new, old.shape), tuple(body(*state)), state
        )

    return tf.while_loop(going, step, start, parallel_iterations=1)


def _begin(fools, start, seed):
    """Return which examples have a misclassified image [n], and the images: start, or noise."""
    n = tf.shape(start)[0]

    def going(attempt, begun, x):
        return (attempt < TRIES) & ~tf.reduce_all(begun)

    def body(attempt, begun, x):
        # A model may put all noise between black and white into one class.
        levels = tf.random.stateless_uniform((2, n, 1, 1, 1), (seed, 2 * attempt))
        share = tf.random.stateless_uniform(tf.shape(x), (seed, 2 * attempt + 1))
        noise = levels[0] + share * (levels[1] - levels[0])
        x = tf.where(per_example(begun), x, noise)
        return attempt + 1, begun | fools(x), x

    return _loop(going, body, (tf.constant(0), fools(start), start))[1:]


def _directions(norm: str, shape, seed) -> tf.Tensor:
    """Return random directions of Euclidean length 1: normal for l2, uniform in a cube for linf."""
    if norm == "l2":
        noise = tf.random.stateless_normal(shape, seed)
    else:
        noise = tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
    return NORMS["l2"].steepest(noise, noise)
