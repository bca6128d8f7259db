"""Defences whose decoder runs on the mean of the nearest training latents."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.attacks._wrappers import bpda
from keras_aaa.checks import check_number, lookup
from keras_aaa.hashing import weights_hash
from keras_aaa.knn.bank import Bank
from keras_aaa.knn.search import Search, exact_search
from keras_aaa.models.surgery import as_logits, decoder, defend, encoder


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
    autoencoder: keras.Model,
    bank: Bank,
    k: int = 10,
    search: Search | None = None,
    dataset: str | None = None,
) -> KnnReconstruction:
    """Return the reconstruction step of this autoencoder with this bank.

    Raises:
        ValueError: if the bank was made by another autoencoder, or of another data set than
            `dataset` (where one is given), or has fewer than k latents.
    """
    _check_bank(autoencoder, bank)
    if dataset not in (None, bank.dataset):
        raise ValueError(
            f"bank: it was made of the images of {bank.dataset!r}, expected those of {dataset!r}; "
            "build one of these."
        )
    check_number("k", k, 1, bank.latents.shape[0], whole=True)
    return KnnReconstruction(bank, k, search or exact_search(bank))


def _check_bank(autoencoder: keras.Model, bank: Bank) -> None:
    if bank.weights_hash != weights_hash(autoencoder):
        raise ValueError(
            f"bank: it was made of {bank.dataset} by another autoencoder than this "
            f"{autoencoder.name}; build one with it."
        )


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
    autoencoder: keras.Model,
    classifier: keras.Model,
    bank: Bank,
    k: int = 10,
    dataset: str | None = None,
    search: Search | None = None,
) -> keras.Model:
    """Return classifier(decoder(mean of the k nearest latents of encoder(images))).

    It exports to a SavedModel, the bank in it. Attacks on it find no gradient: see knn_attackable.
    Paper: AAA, section "kNN Reconstruction".

    Args:
        autoencoder: with a layer named "latent".
        classifier: images -> logits.
        bank: of that autoencoder.
        k: number of neighbours.
        dataset: name of the data set that the images are of; a bank of another is refused.
        search: of that bank; exact_search(bank) by default. With approximate_search(bank) the model
            does not export.

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> logits float32 [n, classes].

    Raises:
        TypeError, ValueError: for models that do not fit, another autoencoder's or data set's
            bank, or a k that is larger than the bank.
    """
    # The defence without neighbours says which shapes do not fit, and ends in the logits.
    logits = defend(autoencoder, classifier).layers[-1]
    layer = KnnMean(knn_reconstruction(autoencoder, bank, k, search, dataset), name="knn_mean")
    inputs = keras.Input(autoencoder.input_shape[1:], dtype="float32", name="images")
    images = decoder(autoencoder)(layer(encoder(autoencoder)(inputs)))
    outputs = logits(images)
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

    Raises:
        ValueError: for another surrogate, or another autoencoder's reconstruction.
    """
    _check_bank(autoencoder, reconstruction.bank)
    surrogates = {"identity": tf.identity, "soft": reconstruction.soft}
    encode, decode, logits = encoder(autoencoder), decoder(autoencoder), as_logits(classifier)
    mean = bpda(reconstruction, lookup("surrogate", surrogate, surrogates))

    def call(images: tf.Tensor) -> tf.Tensor:
        return logits(decode(mean(encode(images, training=False)), training=False), training=False)

    return call
