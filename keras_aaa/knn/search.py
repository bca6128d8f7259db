"""Nearest neighbours: exact, by blocks of matrix products, and approximate, through faiss."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number, lookup
from keras_aaa.fast.precision import POLICIES
from keras_aaa.knn.bank import Bank, reduce_bank

# bfloat16 products rank neighbours roughly; so many of the first are ranked again, exactly.
CANDIDATES = 48
MEMORY = 2e9  # bytes a search may take besides the bank
SMALL_BATCH = 1000  # queries; for more, making a block ready costs little beside its products

# queries [m, d] -> indices [m, k] of the nearest rows, nearest first
Search = Callable[[tf.Tensor, int], tf.Tensor]


def exact_search(
    bank: Bank, precision: str = "bfloat16", memory: float = MEMORY, resident: bool = False
) -> Search:
    """Return the search by blocks of matrix products, as graph code.

    Args:
        bank: what is searched.
        precision: "float32", or "bfloat16": products in bfloat16, whose first CANDIDATES are then
            ranked by their distances in float32.
        memory: bytes that a block and its products may take; a resident copy, as many again.
        resident: whether a copy of the bank that is ready for products (centred, in `precision`)
            is held, if `memory` has room for it, instead of being made again for each batch: many
            small batches, as attacks have, are several times faster. It is not for export. Else the
            bank is read, not copied.

    Raises:
        ValueError: for another precision.
    """
    lookup("precision", precision, POLICIES)
    size, width = bank.latents.shape
    centre = tf.reduce_mean(bank.latents[: min(size, 4096)], axis=0)  # small numbers round less
    dtype = tf.as_dtype(precision)

    def ready(begin: int, end: int) -> tuple[tf.Tensor, tf.Tensor]:
        rows = bank.latents[begin:end] - centre
        return tf.cast(rows, dtype), tf.reduce_sum(tf.square(rows), axis=1) / 2

    held = {}
    if resident and size * width * dtype.size <= memory:
        held = {(b, e): ready(b, e) for b, e in _blocks(size, _block(width, SMALL_BATCH, memory))}

    def search(queries: tf.Tensor, k: int) -> tf.Tensor:
        wanted = min(size, k if precision == "float32" else max(CANDIDATES, 2 * k))
        centred = tf.cast(queries - centre, dtype)
        count = max(queries.shape[0] or SMALL_BATCH, 1)
        there = held if count <= SMALL_BATCH else {}
        values = tf.zeros((tf.shape(queries)[0], 0))
        indices = tf.zeros((tf.shape(queries)[0], 0), tf.int32)
        for begin, end in there or _blocks(size, _block(width, count, memory)):
            with tf.control_dependencies([values]):  # one block in memory at a time
                rows, norms = there.get((begin, end)) or ready(begin, end)
                # The nearest have the largest q.b - |b|^2 / 2.
                products = tf.matmul(centred, rows, transpose_b=True)
            found = tf.math.top_k(tf.cast(products, tf.float32) - norms, min(wanted, end - begin))
            values = tf.concat([values, found.values], axis=1)
            indices = tf.concat([indices, found.indices + begin], axis=1)
            best = tf.math.top_k(values, min(wanted, values.shape[1]))
            values = best.values
            indices = tf.gather(indices, best.indices, axis=1, batch_dims=1)
        return indices if precision == "float32" else rank(bank, queries, indices, k)

    return search


def _block(width: int, queries: int, memory: float) -> int:
    """How many rows of the bank, and their products, fit into the memory."""
    return max(int(memory / (6 * width + 8 * queries)), CANDIDATES)


def _blocks(size: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of the blocks of so many rows."""
    for begin in range(0, size, block):
        yield begin, min(begin + block, size)


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


DIMENSIONS, LISTS, PROBES = 128, 256, 16


def approximate_search(
    bank: Bank, dimensions: int = DIMENSIONS, lists: int = LISTS, probes: int = PROBES
) -> Search:
    """Return a search of an inverted-file index; it calls Python, so it does not export.

    The index holds the latents' first principal components; its first CANDIDATES are ranked by
    their exact distances.

    Args:
        bank: what is searched.
        dimensions: principal components that the index holds, at most the bank's width; of a
            reduced bank its first ones.
        lists: cells of the index.
        probes: cells that are looked into for a query.

    Raises:
        ValueError: if faiss is not installed, or for numbers that are not above 0.
    """
    for name, value in {"dimensions": dimensions, "lists": lists, "probes": probes}.items():
        check_number(name, value, 1, whole=True)
    try:
        import faiss
    except ImportError as error:
        raise ValueError("search: approximate needs faiss-cpu; pip install keras_aaa[knn].") from (
            error
        )
    dimensions = min(dimensions, *bank.latents.shape)
    small = reduce_bank(bank, dimensions) if bank.components is None else bank
    vectors = np.ascontiguousarray(small.latents.numpy()[:, :dimensions])
    index = faiss.index_factory(vectors.shape[1], f"IVF{min(lists, len(vectors))},Flat")
    index.train(vectors)
    index.add(vectors)
    faiss.extract_index_ivf(index).nprobe = probes

    def search(queries: tf.Tensor, k: int) -> tf.Tensor:
        wanted = min(len(vectors), max(CANDIDATES, 2 * k))

        def look_up(points):
            _, found = index.search(points, wanted)
            if (np.sum(found >= 0, axis=1) < k).any():
                raise ValueError(f"probes: {probes} cells hold fewer than {k} latents.")
            return found.astype(np.int32)

        # Queries come in the bank's own coordinates, which in a reduced one are components already.
        points = queries if small is bank else small.reduce(queries)
        found = tf.numpy_function(look_up, [points[:, :dimensions]], tf.int32)
        return rank(bank, queries, tf.ensure_shape(found, (None, wanted)), k)

    return search


def recall(found: tf.Tensor, exact: tf.Tensor) -> float:
    """Return the mean share of the exact neighbours [m, k] that are among the found ones."""
    pairs = zip(found.numpy(), exact.numpy(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))
