"""What several attacks need of a norm: directions, lengths, starts."""

import tensorflow as tf

from keras_aaa.threat_model import ThreatModel

# Attacks that are made for one norm; the others take both.
ONLY_NORM = {"carlini_wagner": "l2", "deepfool": "l2", "square": "linf", "autoattack": "linf"}


def check_norm(attack: str, threat: ThreatModel) -> None:
    """Raise ValueError if the attack is not made for the threat's norm."""
    wanted = ONLY_NORM.get(attack, threat.norm)
    if threat.norm != wanted:
        raise ValueError(f"threat: {attack} is made for the norm {wanted}, got {threat.norm}.")


def per_example(values: tf.Tensor) -> tf.Tensor:
    """Return values [n] as [n, 1, 1, 1], to go with images."""
    return tf.reshape(values, (-1, 1, 1, 1))


def flat_norm(x: tf.Tensor, threat: ThreatModel) -> tf.Tensor:
    """Return the threat's norm of each image of [n, h, w, c], [n]."""
    if threat.norm == "linf":
        return tf.reduce_max(tf.abs(x), axis=(1, 2, 3))
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=(1, 2, 3)))


def unit_steepest(gradient: tf.Tensor, threat: ThreatModel) -> tf.Tensor:
    """Return the direction of length 1 in the threat's norm that the loss rises fastest along."""
    if threat.norm == "linf":
        return tf.sign(gradient)
    return gradient / (per_example(flat_norm(gradient, threat)) + 1e-12)


def random_at_eps(images: tf.Tensor, threat: ThreatModel, seed: int) -> tf.Tensor:
    """Return images, each moved by a random vector whose norm is eps."""
    make = tf.random.stateless_uniform if threat.norm == "linf" else tf.random.stateless_normal
    limits = (-1.0, 1.0) if threat.norm == "linf" else (0.0, 1.0)
    noise = make(tf.shape(images), (seed, 0), *limits)
    return images + threat.eps * noise / (per_example(flat_norm(noise, threat)) + 1e-12)
