"""kNN reconstruction: the decoder runs on the mean of the nearest training latents.

Paper: AAA, section "kNN Reconstruction", Tables 9 and 10.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.attacks.wrappers import bpda
from keras_aaa.checks import check_number
from keras_aaa.models.defended import defend
from keras_aaa.models.fingerprint import fingerprint
from keras_aaa.models.softmax import as_logits

LATENT = "latent"  # the name of an autoencoder's latent layer
ENCODE_BATCH = 250
# bfloat16 products rank neighbours roughly; so many of the first are ranked again, exactly.
CANDIDATES = 48
MEMORY = 2e9  # bytes a search may take besides the bank

# queries [m, d] -> indices [m, k] of the nearest rows, nearest first
Search = Callable[[tf.Tensor, int], tf.Tensor]


@dataclass(frozen=True, eq=False)
class Bank:
    """The latent vectors of a training set, flattened, in one piece of memory.

    Args:
        latents: float32 variable [n, d].
        shape: of one latent as the decoder takes it.
        fingerprint: of the autoencoder that made them.
        dataset: name of the data set.
        mean, components: float32 [full] and [full, d] of a reduced bank (see keras_aaa.pca); None
            for a whole one.
    """

    latents: tf.Variable
    shape: tuple[int, ...]
    fingerprint: str
    dataset: str
    mean: tf.Tensor | None = None
    components: tf.Tensor | None = None

    def reduce(self, latents: tf.Tensor) -> tf.Tensor:
        """Return flat latents [m, full] in the coordinates of the bank, [m, d]."""
        if self.components is None:
            return latents
        return tf.matmul(latents - self.mean, self.components)

    def expand(self, points: tf.Tensor) -> tf.Tensor:
        """Return points [m, d] of the bank as the decoder takes latents, [m, *shape]."""
        if self.components is not None:
            points = self.mean + tf.matmul(points, self.components, transpose_b=True)
        return tf.reshape(points, (-1, *self.shape))


def encoder(autoencoder: keras.Model) -> keras.Model:
    """Return images -> latent, sharing the autoencoder's layers.

    Raises:
        ValueError: if it has no layer named "latent".
    """
    return keras.Model(autoencoder.input, _latent(autoencoder).output)


def decoder(autoencoder: keras.Model) -> keras.Model:
    """Return latent -> reconstruction, sharing the autoencoder's layers.

    Raises:
        ValueError: if it has no layer named "latent", or connections around it (a U-Net).
    """
    try:
        return keras.Model(_latent(autoencoder).output, autoencoder.output)
    except ValueError as error:
        raise ValueError(
            f"autoencoder: {autoencoder.name} has connections around its latent, so that it "
            "cannot be decoded from there alone."
        ) from error


def _latent(autoencoder: keras.Model) -> keras.layers.Layer:
    if LATENT not in [layer.name for layer in autoencoder.layers]:
        raise ValueError(f"autoencoder: expected a layer named {LATENT!r} in {autoencoder.name}.")
    return autoencoder.get_layer(LATENT)


def build_bank(
    autoencoder: keras.Model, images: tf.data.Dataset, examples: int, dataset: str
) -> Bank:
    """Return the bank of the first `examples` images.

    Args:
        autoencoder: with a layer named "latent".
        images: dataset of float32 [h, w, c] in [0, 1].
        examples: how many there are to take, >= 1.
        dataset: their data set's name.

    Raises:
        ValueError: if there are fewer images, or the bank would not fit into memory; says how much
            it needs.
    """
    check_number("examples", examples, 1, whole=True)
    encode = encoder(autoencoder)
    shape = encode.output_shape[1:]
    size = int(np.prod(shape))
    needed, free = 4 * examples * size, _free_memory()
    if needed > free:
        raise ValueError(
            f"bank: {examples} latents of {size} numbers need {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free. Take fewer examples, or reduce the latents (PCA)."
        )
    latents = tf.Variable(tf.zeros((examples, size)), trainable=False, name="bank")
    run = tf.function(lambda x: tf.reshape(encode(x, training=False), (-1, size)))
    done = 0
    for batch in images.take(examples).batch(ENCODE_BATCH):
        latents[done : done + len(batch)].assign(run(batch))
        done += len(batch)
    if done < examples:
        raise ValueError(f"examples: expected {done} at the most, got {examples}.")
    return Bank(latents, tuple(shape), fingerprint(autoencoder), dataset)


def _free_memory() -> float:
    """Bytes of memory that are free; infinite where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:
            kilobytes = dict(line.split(":") for line in file)["MemAvailable"].split()[0]
    except (OSError, KeyError):
        return float("inf")
    return 1024 * float(kilobytes)


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
            rows = bank.latents[begin : begin + max(block, wanted)] - centre
            # The nearest have the largest q.b - |b|^2 / 2.
            norms = tf.reduce_sum(tf.square(rows), axis=1) / 2
            products = tf.matmul(centred, tf.cast(rows, dtype), transpose_b=True)
            found = tf.math.top_k(tf.cast(products, tf.float32) - norms, min(wanted, len(rows)))
            values = tf.concat([values, found.values], axis=1)
            indices = tf.concat([indices, found.indices + begin], axis=1)
            kept = tf.math.top_k(values, min(wanted, values.shape[1]))
            values = kept.values
            indices = tf.gather(indices, kept.indices, axis=1, batch_dims=1)
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


@dataclass(frozen=True, eq=False)
class KnnReconstruction:
    """Latents -> the mean of their k nearest latents in the bank.

    Args:
        bank: of the autoencoder's training set.
        k: number of neighbours; the paper's is 10.
        search: exact_search(bank) or another.
    """

    bank: Bank
    k: int
    search: Search

    def __call__(self, latents: tf.Tensor) -> tf.Tensor:
        queries = self._queries(latents)
        nearest = tf.gather(self.bank.latents, self.search(queries, self.k))
        return self.bank.expand(tf.reduce_mean(nearest, axis=1))

    def soft(self, latents: tf.Tensor) -> tf.Tensor:
        """A differentiable stand-in: neighbours weighted by exp(-distance^2 / their mean)."""
        queries = self._queries(latents)
        nearest = tf.gather(self.bank.latents, tf.stop_gradient(self.search(queries, self.k)))
        distances = tf.reduce_sum(tf.square(nearest - queries[:, None]), axis=2)
        scale = tf.stop_gradient(tf.reduce_mean(distances, axis=1, keepdims=True))
        weights = tf.nn.softmax(-distances / (scale + 1e-12))
        return self.bank.expand(tf.reduce_sum(weights[..., None] * nearest, axis=1))

    def _queries(self, latents: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(tf.cast(latents, tf.float32), (-1, int(np.prod(self.bank.shape))))
        return self.bank.reduce(flat)


def knn_reconstruction(
    autoencoder: keras.Model, bank: Bank, k: int = 10, search: Search | None = None
) -> KnnReconstruction:
    """Return the reconstruction step of this autoencoder with this bank.

    Raises:
        ValueError: if the bank was made by another autoencoder, or has fewer than k latents.
    """
    if bank.fingerprint != fingerprint(autoencoder):
        raise ValueError(
            f"bank: it was made of {bank.dataset} by another autoencoder than this "
            f"{autoencoder.name}; build one with it."
        )
    check_number("k", k, 1, bank.latents.shape[0], whole=True)
    return KnnReconstruction(bank, k, search or exact_search(bank))


class KnnMean(keras.layers.Layer):
    """The layer around a KnnReconstruction."""

    def __init__(self, reconstruction: KnnReconstruction, **options):
        super().__init__(trainable=False, dtype="float32", **options)
        self.reconstruction = reconstruction
        self.bank_variable = reconstruction.bank.latents  # tracked, so that it is exported

    def call(self, latents):
        """Return the mean of the nearest latents, shaped as the latents."""
        return self.reconstruction(latents)

    def compute_output_shape(self, shape):
        """Return the shape of the latents."""
        return shape


def knn_defend(
    autoencoder: keras.Model, classifier: keras.Model, bank: Bank, k: int = 10
) -> keras.Model:
    """Return classifier(decoder(mean of the k nearest latents of encoder(images))).

    It exports to a SavedModel, the bank in it. Attacks on it find no gradient: see knn_attackable.
    Paper: AAA, section "kNN Reconstruction".

    Args:
        autoencoder: with a layer named "latent".
        classifier: images -> logits.
        bank: of that autoencoder.
        k: number of neighbours.

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> logits float32 [n, classes].

    Raises:
        TypeError, ValueError: for models that do not fit, another autoencoder's bank, or a k that
            is larger than the bank.
    """
    defend(autoencoder, classifier)  # says which shapes do not fit
    layer = KnnMean(knn_reconstruction(autoencoder, bank, k), name="knn_mean")
    inputs = keras.Input(autoencoder.input_shape[1:], dtype="float32", name="images")
    images = decoder(autoencoder)(layer(encoder(autoencoder)(inputs)))
    outputs = as_logits(classifier)(images)
    return keras.Model(inputs, outputs, name=f"knn_{autoencoder.name}_{classifier.name}")


def knn_attackable(
    autoencoder: keras.Model,
    classifier: keras.Model,
    reconstruction: KnnReconstruction,
    surrogate: str,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the same defence with a gradient for attacks (BPDA).

    Args:
        autoencoder, classifier: as in knn_defend.
        reconstruction: of that autoencoder.
        surrogate: what is differentiated in the neighbours' place: "identity", the latent itself,
            or "soft", their mean weighted by distance.
    """
    encode, decode, logits = encoder(autoencoder), decoder(autoencoder), as_logits(classifier)
    mean = bpda(reconstruction, {"identity": tf.identity, "soft": reconstruction.soft}[surrogate])

    def call(images: tf.Tensor) -> tf.Tensor:
        return logits(decode(mean(encode(images, training=False)), training=False), training=False)

    return call
