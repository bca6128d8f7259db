"""How much work a model is: its multiply-adds. The machine's peak is keras_aaa.fast.precision."""

import math

import keras


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
