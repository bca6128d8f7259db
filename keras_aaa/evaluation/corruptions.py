"""Common corruptions of images, such as noise and blur, in five severities.

Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations"; their constants for small images (CIFAR-10-C).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_aaa.checks import lookup
from keras_aaa.defence import Defence
from keras_aaa.evaluation.score import resists
from keras_aaa.inputs import check_batch

SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 4  # pixels a side: the widest blur mirrors this many at the edges


@dataclass(frozen=True)
class Corruption:
    """A corruption: apply(images, strength, seed) -> images, and its strength at each severity."""

    apply: Callable[[tf.Tensor, float, tuple[int, int]], tf.Tensor]
    strengths: tuple[float, float, float, float, float]


def corrupt(name: str, images, severity: int, seed: int = 0) -> tf.Tensor:
    """Return the corrupted images.

    Args:
        name: in CORRUPTIONS.
        images: float32 [n, h, w, 1 or 3] in [0, 1].
        severity: 1 to 5.
        seed: of the noise.

    Returns:
        float32, shaped as the images, in [0, 1].

    Raises:
        ValueError: for an unknown corruption or severity, or images too small to blur.
    """
    corruption = lookup("corruption", name, CORRUPTIONS)
    if severity not in SEVERITIES:
        raise ValueError(f"severity: expected 1 to 5, got {severity!r}.")
    images = tf.convert_to_tensor(images, tf.float32)
    if min(images.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"images: expected {SMALLEST} pixels a side or more, got {tuple(images.shape)}."
        )
    if not len(images):
        return images
    strength = corruption.strengths[severity - 1]
    return tf.clip_by_value(corruption.apply(images, strength, (seed, severity)), 0.0, 1.0)


def survive_corruptions(defence: Defence, images, labels) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each corruption's name and a mask, bool [5, n]: True where classified correctly.

    The first axis is the severity.

    Args:
        defence: images -> logits, in float32.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n].

    Raises:
        TypeError, ValueError: for images or labels that are not as above.
    """
    images, labels = check_batch(images, labels, defence)
    for name in CORRUPTIONS:
        masks = [resists(defence, corrupt(name, images, s), labels) for s in SEVERITIES]
        yield name, np.stack(masks)


def _gaussian_noise(images, deviation, seed):
    return images + deviation * tf.random.stateless_normal(tf.shape(images), seed)


def _shot_noise(images, photons, seed):
    counts = tf.random.stateless_poisson(tf.shape(images), seed, photons * images, tf.float32)
    return counts / photons


def _impulse_noise(images, share, seed):
    random = tf.random.stateless_uniform(tf.shape(images), seed)
    black = tf.where(random < share / 2, 0.0, images)
    return tf.where(random > 1 - share / 2, 1.0, black)


def _gaussian_blur(images, deviation, seed):
    radius = round(4 * deviation)
    places = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-(places**2) / (2 * deviation**2))
    weights /= tf.reduce_sum(weights)
    channels = images.shape[-1]
    kernel = tf.tile(tf.tensordot(weights, weights, 0)[..., None, None], (1, 1, channels, 1))
    padded = tf.pad(images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), "SYMMETRIC")
    return tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")


def _contrast(images, factor, seed):
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return mean + factor * (images - mean)


def _brightness(images, shift, seed):
    if images.shape[-1] != 3:
        return images + shift
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images), 3, axis=-1)
    value = tf.clip_by_value(value + shift, 0.0, 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue, saturation, value], axis=-1))


def _jpeg(images, quality, seed):
    return tf.map_fn(lambda image: tf.image.adjust_jpeg_quality(image, int(quality)), images)


CORRUPTIONS = {
    "gaussian_noise": Corruption(_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": Corruption(_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": Corruption(_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "gaussian_blur": Corruption(_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "contrast": Corruption(_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "brightness": Corruption(_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "jpeg": Corruption(_jpeg, (80, 65, 58, 50, 40)),
}
