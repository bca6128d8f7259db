"""The Square attack: random search over squares. It needs no gradients."""

import tensorflow as tf

from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks._engine.restarts import with_restarts
from keras_aaa.attacks._engine.squares import SEARCHES
from keras_aaa.attacks.losses import margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel


@attack()
def square(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    queries: int = 5000,
    restarts: int = 1,
    seed: int = 0,
    first: int = 0,
    last: int | None = None,
    start=None,
) -> tf.Tensor:
    """Return the images with the smallest margin that random squares reach.

    Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via
    random search", with the margin loss, as in AutoAttack. In linf a square is a change of +-eps,
    in l2 and l1 a change that decays from two centres; l1: Croce and Hein 2021, "Mind the box".
    Here each image gets its own squares. The defaults are those of the reference implementation.

    Args:
        model: images -> logits; only its outputs are used.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball.
        queries: the whole budget of a restart, >= 1.
        restarts: number of searches, >= 1; images still classified correctly try the next.
        seed: of the squares.
        first, last: run only these queries of the budget; all of them by default.
        start: images [n, h, w, c] to start from; None for a random start.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("queries", queries, 1, whole=True)
    last = queries if last is None else last
    check_number("last", last, 0, queries, whole=True)
    check_number("first", first, 0, last, whole=True)
    if restarts != 1 and (start is not None or (first, last) != (0, queries)):
        raise ValueError(f"restarts: expected 1 for a part of a search, got {restarts}.")
    search = SEARCHES[threat.norm](threat, queries, tuple(images.shape[1:]))
    # The size of the images is a constant of the graph.
    run = compiled(model, _graph, threat, queries, images.shape[1:])

    def once(x, y, draw):
        offset = draw * (queries + 1)  # of the random numbers
        begin = search.start(x, (seed, offset)) if start is None else start
        return run(x, y, begin, *map(tf.constant, (first, last, seed, offset)))

    return with_restarts(once, model, (images, labels), restarts)


def _graph(logits_of, threat: ThreatModel, queries: int, shape: tf.TensorShape):
    search = SEARCHES[threat.norm](threat, queries, tuple(shape))

    def run(images, labels, start, first, last, seed, offset):
        # The static length if it is known, because the shapes of a loop must not change.
        n = tf.shape(images)[0] if images.shape[0] is None else images.shape[0]

        def body(query, best, smallest):
            random = tf.random.stateless_uniform(
                (n, search.numbers), tf.stack([seed, query + 1 + offset])
            )
            moved = search.propose(query, images, best, random)
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
