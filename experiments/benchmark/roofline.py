"""Count a model's multiply-adds. keras_aaa.fast.precision measures the machine's peak."""

import math

import keras


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of one image's forward pass, of kernels only; the rest is small."""
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
    """Return a job's multiply-adds per image.

    An attack step takes a forward pass and a backward pass to the image. A training step adds a
    forward pass and the backward passes to the image and to the weights.
    """
    return forward * {"clean": 1, "attack": 2 * steps, "training": 2 * steps + 3}[kind]
