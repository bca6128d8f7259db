"""What the machine could do: a model's multiply-adds, and the peak of a matrix product."""

import math
import time

import keras
import tensorflow as tf

SIZE, PRODUCTS, TRIALS = 2048, 4, 5


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of one image's forward pass; those of kernels, the rest is small."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif hasattr(layer, "kernel"):
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            pixels = (layer.input if transposed else layer.output).shape[1:-1]
            total += math.prod(layer.kernel.shape) * math.prod(pixels)
    return total


def per_image(kind: str, steps: int, forward: int) -> int:
    """Return a job's multiply-adds an image: an attack step goes forward and back to the image.

    A training step adds the forward pass, and the way back to the image and to the weights.
    """
    return forward * {"clean": 1, "attack": 2 * steps, "training": 2 * steps + 3}[kind]


def peak(precision: str) -> float:
    """Return the multiply-adds a second of a square matrix product here, the best of a few."""
    dtype = tf.as_dtype(precision)
    a = tf.cast(tf.random.stateless_uniform((SIZE, SIZE), (0, 0)), dtype)

    @tf.function
    def products():
        x = a
        for _ in range(PRODUCTS):
            x = tf.matmul(a, x) * tf.cast(1 / SIZE, dtype)
        return tf.reduce_sum(tf.cast(x, tf.float32))

    products().numpy()
    seconds = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        products().numpy()
        seconds.append(time.perf_counter() - began)
    return PRODUCTS * SIZE**3 / min(seconds)
