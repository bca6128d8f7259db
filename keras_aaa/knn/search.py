"""Nearest-neighbour search: exact in blocks of matrix products, or approximate with faiss."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number, lookup
from keras_aaa.fast.precision import POLICIES
from keras_aaa.knn.bank import Bank, reduce_bank

# bfloat16 products rank neighbours roughly. This many candidates are ranked again in float32.
CANDIDATES = 48
MEMORY = 2e9  # bytes that a search may take in addition to the bank
SMALL_BATCH = 1000  # queries; with more, preparing a block costs little compared to its products

# queries [m, d] -> indices [m, k] of the nearest rows, nearest first
Search = Callable[[tf.Tensor, int], tf.Tensor]


def exact_search(
    bank: Bank, precision: str = "bfloat16", memory: float = MEMORY, resident: bool = False
) -> Search:
    """Return an exact search in blocks of matrix products, as graph code.

    Args:
        bank: the bank to search.
        precision: "float32" or "bfloat16". With "bfloat16" the products are in bfloat16, and the
            first CANDIDATES are ranked again by their float32 distances.
        memory: bytes that a block and its products may take. A resident copy may take as many
            again.
        resident: whether to hold a copy of the bank that is prepared for products (centred, in
            `precision`), if it fits into `memory`. The copy is then not prepared again for each
            batch, which makes many small batches (as in attacks) several times faster. Do not
            export such a search. If False, the bank is read and not copied.

    Returns:
        Search: queries float32 [m, d], k -> indices int32 [m, k] of the nearest rows, nearest
        first.

    Raises:
        ValueError: for an unknown precision.
    """
    lookup("precision", precision, POLICIES)
    size, width = bank.latents.shape
    centre = tf.reduce_mean(
        bank.latents[: min(size, 4096)], axis=0
    )  # small values lose less in rounding
    dtype = tf.as_dtype(precision)

    def ready(begin: int, end: int) -> tuple[tf.Tensor, tf.Tensor]:
        rows = bank.latents[begin:end] - centre
        return tf.cast(rows, dtype), tf.reduce_sum(tf.square(rows), axis=1) / 2

    prepared = {}
    if resident and size * width * dtype.size <= memory:
        prepared = {
            (b, e): ready(b, e) for b, e in _blocks(size, _block(width, SMALL_BATCH, memory))
        }

    def search(queries: tf.Tensor, k: int) -> tf.Tensor:
        wanted = min(size, k if precision == "float32" else max(CANDIDATES, 2 * k))
        centred = tf.cast(queries - centre, dtype)
        count = max(queries.shape[0] or SMALL_BATCH, 1)
        cached = prepared if count <= SMALL_BATCH else {}
        values = tf.zeros((tf.shape(queries)[0], 0))
        indices = tf.zeros((tf.shape(queries)[0], 0), tf.int32)
        for begin, end in cached or _blocks(size, _block(width, count, memory)):
            with tf.control_dependencies([values]):  # one block in memory at a time
                rows, norms = cached.get((begin, end)) or ready(begin, end)
                # The nearest rows b of a query q have the largest q.b - |b|^2 / 2.
                products = tf.matmul(centred, rows, transpose_b=True)
            nearest = tf.math.top_k(tf.cast(products, tf.float32) - norms, min(wanted, end - begin))
            values = tf.concat([values, nearest.values], axis=1)
            indices = tf.concat([indices, nearest.indices + begin], axis=1)
            best = tf.math.top_k(values, min(wanted, values.shape[1]))
            values = best.values
            indices = tf.gather(indices, best.indices, axis=1, batch_dims=1)
        return indices if precision == "float32" else rank(bank, queries, indices, k)

    return search


def _block(width: int, queries: int, memory: float) -> int:
    """Return how many rows of the bank fit into the memory together with their products."""
    return max(int(memory / (6 * width + 8 * queries)), CANDIDATES)


def _blocks(size: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of each block of `block` rows."""
    for begin in range(0, size, block):
        yield begin, min(begin + block, size)


def rank(bank: Bank, queries: tf.Tensor, candidates: tf.Tensor, k: int) -> tf.Tensor:
    """Return the k nearest of each query's candidates, by float32 distances: int32 [m, k].

    A negative candidate means "no neighbour"; each query must have at least k other candidates.

    Args:
        bank: the bank that was searched.
        queries: float32 [m, d].
        candidates: int32 [m, candidates], row indices of the bank.
        k: number of neighbours.
    """

    def of_query(pair):
        query, rows = pair
        latents = tf.gather(bank.latents, tf.maximum(rows, 0))
        distances = tf.reduce_sum(tf.square(latents - query), axis=1)
        distances = tf.where(rows < 0, float("inf"), distances)
        return tf.gather(rows, tf.math.top_k(-distances, k).indices)

    return tf.map_fn(of_query, (queries, candidates), fn_output_signature=tf.int32)


DIMENSIONS, LISTS, PROBES = 128, 256, 16


def approximate_search(
    bank: Bank, dimensions: int = DIMENSIONS, lists: int = LISTS, probes: int = PROBES
) -> Search:
    """Return an approximate search with an inverted-file index of faiss.

    The search calls Python, so it does not export. The index holds the first principal components
    of the latents. Its first CANDIDATES are ranked again by their exact distances.

    Args:
        bank: the bank to search.
        dimensions: number of principal components in the index, at most the bank's width. For a
            reduced bank, the bank's first components are used.
        lists: number of cells in the index.
        probes: number of cells searched for each query.

    Returns:
        Search: queries float32 [m, d], k -> indices int32 [m, k] of the nearest rows found,
        nearest first.

    Raises:
        ValueError: if faiss is not installed, or for numbers below 1.
    """
    for name, value in {"dimensions": dimensions, "lists": lists, "probes": probes}.items():
        check_number(name, value, 1, whole=True)
    try:
        import faiss
    except ImportError as error:
        raise ValueError("search: faiss-cpu is not installed; pip install 'keras_aaa[knn]'.") from (
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
            _, neighbours = index.search(points, wanted)
            if (np.sum(neighbours >= 0, axis=1) < k).any():
                raise ValueError(
                    f"probes: expected cells with {k} latents or more, {probes} cells hold fewer; "
                    "raise probes."
                )
            return neighbours.astype(np.int32)

        # Queries use the bank's coordinates. In a reduced bank these are components already.
        points = queries if small is bank else small.reduce(queries)
        candidates = tf.numpy_function(look_up, [points[:, :dimensions]], tf.int32)
        return rank(bank, queries, tf.ensure_shape(candidates, (None, wanted)), k)

    return search


def recall(found: tf.Tensor, exact: tf.Tensor) -> float:
    """Return the mean share of the exact neighbours that a search found.

    Args:
        found: indices [m, k] from the search.
        exact: indices [m, k] from exact_search.
    """
    pairs = zip(found.numpy(), exact.numpy(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))
