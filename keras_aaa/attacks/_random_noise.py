"""Random noise: what a defence has to stand without anybody meaning it."""

import tensorflow as tf

from keras_aaa.attacks._engine.norms import random_at_eps
from keras_aaa.defence import Defence
from keras_aaa.inputs import check_batch
from keras_aaa.threat_model import ThreatModel


def random_noise(
    model: Defence, images, labels, *, threat: ThreatModel, seed: int = 0
) -> tf.Tensor:
    """Return the images moved by a random vector of length eps; the model is not asked.

    Args:
        model: only its number of classes is looked at.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        threat: the ball.
        seed: of the noise.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: for images or labels that are not as above.
    """
    images, _ = check_batch(images, labels, model, threat)
    return threat.project(random_at_eps(images, threat, seed), tf.convert_to_tensor(images))
