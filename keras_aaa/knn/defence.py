"""Defences that decode the mean of the nearest training latents."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.attacks._bpda_eot import bpda
from keras_aaa.checks import check_number, lookup
from keras_aaa.hashing import weights_hash
from keras_aaa.knn.bank import Bank
from keras_aaa.knn.search import Search, exact_search
from keras_aaa.models.probabilities import as_logits
from keras_aaa.models.surgery import decoder, defend, encoder


@dataclass(frozen=True, eq=False)
class KnnReconstruction:
    """A callable latents -> the mean of their k nearest latents in the bank.

    Args:
        bank: the bank of the autoencoder's training set.
        k: number of neighbours; 10 in the paper.
        search: exact_search(bank) or another search of this bank.
    """

    bank: Bank
    k: int
    search: Search

    def __call__(self, latents: tf.Tensor) -> tf.Tensor:
        queries = self._queries(latents)
        nearest = tf.gather(self.bank.latents, self.search(queries, self.k))
        return self.bank.expand(tf.reduce_mean(nearest, axis=1))

    def soft(self, latents: tf.Tensor) -> tf.Tensor:
        """Return a differentiable mean, weighted by exp(-distance^2 / mean of distance^2)."""
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
    """Return the reconstruction step of an autoencoder with its bank.

    Args:
        autoencoder: the autoencoder that encoded the bank.
        bank: see build_bank.
        k: number of neighbours.
        search: a search of this bank; None for exact_search(bank).
        dataset: name of the expected data set; None to accept any.

    Raises:
        ValueError: if another autoencoder encoded the bank, the bank's data set is not `dataset`,
            or the bank has fewer than k latents.
    """
    _check_bank(autoencoder, bank)
    if dataset not in (None, bank.dataset):
        raise ValueError(
            f"bank: expected images of {dataset!r}, got {bank.dataset!r}; build a bank of the "
            "expected ones."
        )
    check_number("k", k, 1, bank.latents.shape[0], whole=True)
    return KnnReconstruction(bank, k, search or exact_search(bank))


def _check_bank(autoencoder: keras.Model, bank: Bank) -> None:
    if bank.weights_hash != weights_hash(autoencoder):
        raise ValueError(
            f"bank: expected latents of this {autoencoder.name}, got {bank.dataset} latents of "
            "another autoencoder; build a bank with this one."
        )


class KnnMean(keras.layers.Layer):
    """A Keras layer that applies a KnnReconstruction."""

    def __init__(self, reconstruction: KnnReconstruction, **options):
        super().__init__(trainable=False, dtype="float32", **options)
        self.reconstruction = reconstruction
        self.bank_variable = reconstruction.bank.latents  # Keras tracks it and so exports it

    def call(self, latents):
        """Return the mean of the nearest latents, in the shape of the latents."""
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

    The model exports to a SavedModel that contains the bank. Attacks on the model find no gradient;
    attack knn_attackable instead.
    Paper: AAA, section "kNN Reconstruction".

    Args:
        autoencoder: a model with a layer named "latent".
        classifier: images -> logits.
        bank: the bank of that autoencoder.
        k: number of neighbours.
        dataset: name of the images' data set; a bank of another data set raises an error.
        search: a search of that bank; None for exact_search(bank). With approximate_search(bank)
            the model does not export.

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> logits float32 [n, classes].

    Raises:
        TypeError, ValueError: for models that do not fit together, a bank of another autoencoder or
            data set, or a k larger than the bank.
    """
    # defend() checks the shapes, and its last layer is the classifier that returns logits.
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
    """Return the defence of knn_defend with a gradient for attacks (BPDA).

    Args:
        autoencoder, classifier: as in knn_defend.
        reconstruction: the reconstruction step of that autoencoder.
        surrogate: the function that is differentiated instead of the mean of the neighbours:
            "identity" is the latent itself, "soft" is the mean weighted by distance.

    Returns:
        A callable images [n, h, w, c] -> logits [n, classes].

    Raises:
        ValueError: for an unknown surrogate, or a reconstruction of another autoencoder.
    """
    _check_bank(autoencoder, reconstruction.bank)
    surrogates = {"identity": tf.identity, "soft": reconstruction.soft}
    encode, decode, logits = encoder(autoencoder), decoder(autoencoder), as_logits(classifier)
    mean = bpda(reconstruction, lookup("surrogate", surrogate, surrogates))

    def call(images: tf.Tensor) -> tf.Tensor:
        return logits(decode(mean(encode(images, training=False)), training=False), training=False)

    return call
