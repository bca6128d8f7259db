"""The fast gradient sign method (FGSM)."""

import tensorflow as tf

from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks._pgd import pgd_graph
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.threat_model import ThreatModel


@attack()
def fgsm(model: Defence, images, labels, *, threat: ThreatModel) -> tf.Tensor:
    """Return adversarial images after one step of length eps up the cross-entropy.

    Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples". It is PGD
    with one step and without a random start. In l1 the step moves one percent of the pixels. An
    image whose gradient is exactly zero takes a step in a random direction.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images or labels are not as above.
    """
    run = compiled(model, pgd_graph, threat.norm, 0.0)
    eps = tf.constant(threat.eps, tf.float32)
    return run(images, labels, images, tf.constant(1), eps, eps)
