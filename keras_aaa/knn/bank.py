"""Banks of latent vectors of a training set, whole or as principal components."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number
from keras_aaa.hashing import weights_hash
from keras_aaa.models.surgery import decoder, encoder

ENCODE_BATCH = 250


@dataclass(frozen=True, eq=False)
class Bank:
    """The flattened latent vectors of a training set, in one variable.

    Args:
        latents: float32 variable [n, d].
        shape: shape of one latent, as the decoder takes it.
        weights_hash: hash of the weights of the autoencoder that encoded the images.
        dataset: name of the data set.
        mean, components: float32 [full] and [full, d] of a reduced bank (see reduce_bank); None for
            a full bank.
    """

    latents: tf.Variable
    shape: tuple[int, ...]
    weights_hash: str
    dataset: str
    mean: tf.Tensor | None = None
    components: tf.Tensor | None = None

    def reduce(self, latents: tf.Tensor) -> tf.Tensor:
        """Return flat latents [m, full] in the coordinates of the bank, [m, d]."""
        if self.components is None:
            return latents
        return tf.matmul(latents - self.mean, self.components)

    def expand(self, points: tf.Tensor) -> tf.Tensor:
        """Return points [m, d] of the bank as latents for the decoder, [m, *shape]."""
        if self.components is not None:
            points = self.mean + tf.matmul(points, self.components, transpose_b=True)
        return tf.reshape(points, (-1, *self.shape))


def build_bank(
    autoencoder: keras.Model, images: tf.data.Dataset, examples: int, dataset: str
) -> Bank:
    """Return the bank of the latents of the first `examples` images.

    Args:
        autoencoder: a keras.Model with a layer named "latent" and no connections around it.
        images: dataset of float32 [h, w, c] in [0, 1].
        examples: number of images to encode, >= 1.
        dataset: name of the images' data set.

    Raises:
        TypeError: if `autoencoder` is not a keras.Model, or `images` is not a tf.data.Dataset.
        ValueError: if the images do not have the form above or there are fewer than `examples`, the
            latent alone cannot be decoded, or the bank does not fit into memory (the message says
            how much it needs).
    """
    check_number("examples", examples, 1, whole=True)
    if not isinstance(autoencoder, keras.Model):
        raise TypeError(f"autoencoder: expected a keras.Model, got {type(autoencoder).__name__}.")
    encode = encoder(autoencoder)
    decoder(autoencoder)  # raises if the latent alone cannot be decoded
    _check_images(images, autoencoder.input_shape[1:])
    shape = encode.output_shape[1:]
    size = int(np.prod(shape))
    needed, free = 4 * examples * size, _free_memory()
    if needed > free:
        raise ValueError(
            f"bank: {examples} latents of {size} numbers need {needed / 1e9:.1f} GB, "
            f"but only {free / 1e9:.1f} GB are free. Take fewer examples, or an "
            "autoencoder with a smaller latent."
        )
    latents = tf.Variable(tf.zeros((examples, size)), trainable=False, name="bank")
    run = tf.function(lambda x: tf.reshape(encode(x, training=False), (-1, size)))
    done = 0
    for batch in images.take(examples).batch(ENCODE_BATCH):
        low, high = float(tf.reduce_min(batch)), float(tf.reduce_max(batch))
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ValueError(f"images: expected values in [0, 1], got {low:.4g} to {high:.4g}.")
        places = tf.range(done, done + len(batch))
        latents.scatter_update(tf.IndexedSlices(run(batch), places))  # assign would copy the bank
        done += len(batch)
    if done < examples:
        raise ValueError(f"examples: expected {done} at the most, got {examples}.")
    return Bank(latents, tuple(shape), weights_hash(autoencoder), dataset)


def _check_images(images: tf.data.Dataset, shape: tuple[int, ...]) -> None:
    if not isinstance(images, tf.data.Dataset):
        raise TypeError(f"images: expected a tf.data.Dataset, got {type(images).__name__}.")
    spec, expected = images.element_spec, tf.TensorSpec(shape, tf.float32)
    if not (isinstance(spec, tf.TensorSpec) and spec.is_compatible_with(expected)):
        raise ValueError(
            f"images: expected a dataset of single images, float32 {shape}, without labels and not "
            f"batched, got {spec}."
        )


def _free_memory() -> float:
    """Return the free memory in bytes; infinity if the system does not report it."""
    try:
        with open("/proc/meminfo") as file:
            kilobytes = dict(line.split(":") for line in file)["MemAvailable"].split()[0]
    except (OSError, KeyError):
        return float("inf")
    return 1024 * float(kilobytes)


OVERSAMPLED, PASSES = 16, 2


def reduce_bank(bank: Bank, dimensions: int, seed: int = 0) -> Bank:
    """Return the bank projected onto its first principal components.

    Halko, Martinsson and Tropp 2011, "Finding Structure with Randomness", algorithm 4.4. The bank
    is read a few times and never copied. Delete the full bank afterwards to free its memory.

    Args:
        bank: a full bank.
        dimensions: number of components, from 1 to the smaller side of the bank.
        seed: seed of the random start.

    Raises:
        ValueError: for more dimensions than the bank has, or a bank that is reduced already.
    """
    if bank.components is not None:
        raise ValueError(
            "bank: expected a full bank, got one that is reduced already; pass the original."
        )
    rows, width = bank.latents.shape
    check_number("dimensions", dimensions, 1, min(rows, width), whole=True)
    sampled = min(dimensions + OVERSAMPLED, rows, width)
    mean = tf.reduce_mean(bank.latents, axis=0)

    def times(q):
        return tf.matmul(bank.latents, q) - tf.tensordot(mean, q, 1)

    def transposed_times(y):
        product = tf.matmul(bank.latents, y, transpose_a=True)
        return product - mean[:, None] * tf.reduce_sum(y, axis=0)

    q = tf.linalg.qr(tf.random.stateless_normal((width, sampled), (seed, 0))).q
    for _ in range(PASSES):
        q = tf.linalg.qr(transposed_times(tf.linalg.qr(times(q)).q)).q
    y = times(q)
    _, vectors = tf.linalg.eigh(tf.matmul(y, y, transpose_a=True))
    rotation = vectors[:, ::-1][:, :dimensions]  # eigh returns the largest eigenvalue last
    latents = tf.Variable(tf.matmul(y, rotation), trainable=False, name="bank")
    return dataclasses.replace(bank, latents=latents, mean=mean, components=tf.matmul(q, rotation))
