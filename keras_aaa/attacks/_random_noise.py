"""Random noise of the length that an attack may use."""

import tensorflow as tf

from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.defence import Defence
from keras_aaa.threat_model import ThreatModel


@attack()
def random_noise(
    model: Defence, images, labels, *, threat: ThreatModel, seed: int = 0
) -> tf.Tensor:
    """Return the images moved by a random vector of length eps. The model is not evaluated.

    Args:
        model: only its input shape and number of classes are checked.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        threat: the ball.
        seed: of the noise.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images or labels are not as above.
    """
    noise = threat.metric.displacement(tf.shape(images), threat.eps, seed)
    return threat.project(images + noise, images)
