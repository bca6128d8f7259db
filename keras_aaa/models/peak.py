"""What the machine could do: the peak of a matrix product, measured."""

import time

import tensorflow as tf

PRODUCTS = 4  # in one call, so that the call itself costs nothing beside them


def peak(precision: str, size: int = 2048, trials: int = 5) -> float:
    """Return the multiply-adds a second of a square matrix product here, the best of a few.

    Args:
        precision: "float32" or "bfloat16".
        size: rows and columns of the matrices.
        trials: how often it is measured.
    """
    dtype = tf.as_dtype(precision)
    a = tf.cast(tf.random.stateless_uniform((size, size), (0, 0)), dtype)

    @tf.function
    def products():
        x = a
        for _ in range(PRODUCTS):
            x = tf.matmul(a, x) * tf.cast(1 / size, dtype)
        return tf.reduce_sum(tf.cast(x, tf.float32))

    products().numpy()
    seconds = []
    for _ in range(trials):
        began = time.perf_counter()
        products().numpy()
        seconds.append(time.perf_counter() - began)
    return PRODUCTS * size**3 / min(seconds)
