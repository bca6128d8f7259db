"""Approximate nearest neighbours through faiss (extra `knn`), behind the interface of the exact."""

import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number
from keras_aaa.knn.bank import Bank
from keras_aaa.knn.exact import CANDIDATES, Search, rank
from keras_aaa.knn.pca import reduce_bank

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
