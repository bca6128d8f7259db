"""The Square attack: random search over squares. It needs no gradients."""

import math

import tensorflow as tf

from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks.losses import margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel

P_INIT = 0.8
# Queries after which a square's share of the image is halved: those of a budget of 10,000, which
# AutoAttack takes for any budget.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def share(query: int) -> float:
    """Return the share of the image that a square covers at `query`."""
    return P_INIT / 2 ** sum(query > halving for halving in HALVINGS)


@attack("linf")
def square(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    queries: int,
    seed: int = 0,
    first: int = 0,
    last: int | None = None,
    start=None,
) -> tf.Tensor:
    """Return the images with the smallest margin that random squares of +-eps reach.

    Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via
    random search"; the l-infinity version with the margin loss, as in AutoAttack. Here each image
    gets its own squares.

    Args:
        model: images -> logits; only its outputs are used.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: an l-infinity ball.
        queries: the whole budget, >= 1 (5,000 in AutoAttack).
        seed: of the squares.
        first, last: run only these queries of the budget; all of them by default.
        start: images [n, h, w, c] to start from; None for random vertical stripes.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("queries", queries, 1, whole=True)
    last = queries if last is None else last
    check_number("last", last, 0, queries, whole=True)
    check_number("first", first, 0, last, whole=True)
    if start is None:
        n, _, w, c = images.shape
        stripes = tf.random.stateless_uniform((n, 1, w, c), (seed, 0), -1.0, 1.0)
        start = tf.clip_by_value(images + threat.eps * tf.sign(stripes), 0.0, 1.0)
    # The size of the images is a constant of the graph.
    run = compiled(model, _graph, threat, queries, images.shape[1:])
    return run(images, labels, start, *map(tf.constant, (first, last, seed)))


def _graph(logits_of, threat: ThreatModel, queries: int, shape: tf.TensorShape):
    h, w, c = shape
    largest = max(min(h, w) - 1, 1)
    whole = [round(math.sqrt(share(query) * h * w)) for query in range(queries)]
    sides = tf.constant([min(max(side, 1), largest) for side in whole])

    def run(images, labels, start, first, last, seed):
        # The static length if it is known, because the shapes of a loop must not change.
        n = tf.shape(images)[0] if images.shape[0] is None else images.shape[0]

        def body(query, best, smallest):
            side = sides[query]
            random = tf.random.stateless_uniform((n, 2 + c), (seed, query + 1))
            signs = 2 * tf.round(random[:, 2:]) - 1
            inside = [_span(size, side, random[:, axis]) for axis, size in enumerate((h, w))]
            mask = inside[0][:, :, None, None] * inside[1][:, None, :, None]
            # A change of 2 eps ends at an edge of the ball. Computed from the clean image, an edge
            # has one exact value, so that squares without an effect are recognised.
            edge = tf.clip_by_value(images + threat.eps * signs[:, None, None, :], 0.0, 1.0)
            moved = tf.where(mask > 0, edge, best)
            # Many squares change nothing, because their pixels are at that edge already: skip these
            # queries. The first image is always evaluated; some models refuse an empty batch.
            changed = tf.reduce_any(moved != best, axis=(1, 2, 3))
            asked = tf.where(changed | (tf.range(n) == 0))
            answers = margin(logits_of(tf.gather_nd(moved, asked)), tf.gather_nd(labels, asked))
            found = tf.tensor_scatter_nd_update(smallest, asked, answers)
            better = found < smallest
            best = tf.where(per_example(better), moved, best)
            return query + 1, best, tf.minimum(found, smallest)

        smallest = margin(logits_of(start), labels)
        return tf.while_loop(
            lambda query, *_: query < last,
            body,
            (first, start, smallest),
            parallel_iterations=1,
        )[1]

    return run


def _span(size: int, side: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
    """Return [n, size]: 1.0 for `side` consecutive pixels from a random place on, else 0.0."""
    begin = tf.cast(random * tf.cast(size - side + 1, tf.float32), tf.int32)[:, None]
    pixel = tf.range(size)[None, :]
    return tf.cast((pixel >= begin) & (pixel < begin + side), tf.float32)
