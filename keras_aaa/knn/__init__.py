"""kNN reconstruction. Paper: AAA, section "kNN Reconstruction", Tables 9 and 10."""

from keras_aaa.knn.bank import Bank, build_bank, reduce_bank
from keras_aaa.knn.defence import (
    KnnReconstruction,
    knn_attackable,
    knn_defend,
    knn_reconstruction,
)
from keras_aaa.knn.search import MEMORY, Search, approximate_search, exact_search, rank, recall

__all__ = [
    "MEMORY",
    "Bank",
    "KnnReconstruction",
    "Search",
    "approximate_search",
    "build_bank",
    "exact_search",
    "knn_attackable",
    "knn_defend",
    "knn_reconstruction",
    "rank",
    "recall",
    "reduce_bank",
]
