"""Banks of latents in fewer dimensions: principal components, without a second copy."""

import dataclasses

import tensorflow as tf

from keras_aaa.checks import check_number
from keras_aaa.knn.bank import Bank

OVERSAMPLED, PASSES = 16, 2


def reduce_bank(bank: Bank, dimensions: int, seed: int = 0) -> Bank:
    """Return the bank projected onto its first principal components.

    Halko, Martinsson and Tropp 2011, "Finding Structure with Randomness", algorithm 4.4. The bank
    is read a few times and never copied; drop it afterwards to free its memory.

    Args:
        bank: a whole one.
        dimensions: how many components to keep, 1 to the smaller side of the bank.
        seed: of the random start.

    Raises:
        ValueError: for more dimensions than there are, or a bank that is reduced already.
    """
    if bank.components is not None:
        raise ValueError("bank: it is reduced already.")
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
    turn = vectors[:, ::-1][:, :dimensions]  # eigh gives the largest last
    latents = tf.Variable(tf.matmul(y, turn), trainable=False, name="bank")
    return dataclasses.replace(bank, latents=latents, mean=mean, components=tf.matmul(q, turn))
