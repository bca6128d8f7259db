"""The fast gradient sign method (FGSM)."""

import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

from keras_aaa.attacks._engine.compilation import compiled
from keras_aaa.defence import Defence
from keras_aaa.inputs import check_batch
from keras_aaa.threat_model import ThreatModel


def fgsm(model: Defence, images, labels, *, threat: ThreatModel) -> tf.Tensor:
    """Return adversarial images after one step of length eps up the cross-entropy.

    Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples"; CleverHans' code.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: for images or labels that are not as above.
    """
    images, labels = check_batch(images, labels, model, threat)
    if threat.eps == 0:
        return images
    return compiled(model, _graph, threat)(images, labels)


def _graph(logits_of, threat: ThreatModel):
    def run(images, labels):
        x_adv = fast_gradient_method(logits_of, images, threat.eps, threat.order, y=labels)
        return threat.project(x_adv, images)

    return run
