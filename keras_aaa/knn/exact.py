"""Exact nearest neighbours by blocks of matrix products, as graph code."""

from collections.abc import Callable

import tensorflow as tf

from keras_aaa.knn.bank import Bank

# bfloat16 products rank neighbours roughly; so many of the first are ranked again, exactly.
CANDIDATES = 48
MEMORY = 2e9  # bytes a search may take besides the bank

# queries [m, d] -> indices [m, k] of the nearest rows, nearest first
Search = Callable[[tf.Tensor, int], tf.Tensor]


def exact_search(bank: Bank, precision: str = "bfloat16", memory: float = MEMORY) -> Search:
    """Return the search by blocks of matrix products, as graph code.

    Args:
        bank: what is searched; it is read, not copied.
        precision: "float32", or "bfloat16": products in bfloat16, whose first CANDIDATES are then
            ranked by their distances in float32.
        memory: bytes that a block and its products may take.
    """
    size, width = bank.latents.shape
    centre = tf.reduce_mean(bank.latents[: min(size, 4096)], axis=0)  # small numbers round less
    dtype = tf.as_dtype(precision)

    def search(queries: tf.Tensor, k: int) -> tf.Tensor:
        wanted = min(size, k if precision == "float32" else max(CANDIDATES, 2 * k))
        centred = tf.cast(queries - centre, dtype)
        block = int(memory / (6 * width + 8 * max(queries.shape[0] or 1000, 1)))
        values = tf.zeros((tf.shape(queries)[0], 0))
        indices = tf.zeros((tf.shape(queries)[0], 0), tf.int32)
        for begin in range(0, size, max(block, wanted)):
            count = min(max(block, wanted), size - begin)
            with tf.control_dependencies([values]):  # one block in memory at a time
                rows = bank.latents[begin : begin + count] - centre
            # The nearest have the largest q.b - |b|^2 / 2.
            norms = tf.reduce_sum(tf.square(rows), axis=1) / 2
            products = tf.matmul(centred, tf.cast(rows, dtype), transpose_b=True)
            found = tf.math.top_k(tf.cast(products, tf.float32) - norms, min(wanted, count))
            values = tf.concat([values, found.values], axis=1)
            indices = tf.concat([indices, found.indices + begin], axis=1)
            best = tf.math.top_k(values, min(wanted, values.shape[1]))
            values = best.values
            indices = tf.gather(indices, best.indices, axis=1, batch_dims=1)
        return indices if precision == "float32" else rank(bank, queries, indices, k)

    return search


def rank(bank: Bank, queries: tf.Tensor, candidates: tf.Tensor, k: int) -> tf.Tensor:
    """Return the k nearest of each query's candidates, by float32 distances: int32 [m, k].

    A candidate below 0 is none; each query must have k others.
    """

    def of_query(pair):
        query, rows = pair
        found = tf.gather(bank.latents, tf.maximum(rows, 0))
        distances = tf.reduce_sum(tf.square(found - query), axis=1)
        distances = tf.where(rows < 0, float("inf"), distances)
        return tf.gather(rows, tf.math.top_k(-distances, k).indices)

    return tf.map_fn(of_query, (queries, candidates), fn_output_signature=tf.int32)
