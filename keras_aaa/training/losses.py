"""Training losses of autoencoders and classifiers."""

import math
from dataclasses import dataclass

import tensorflow as tf

from keras_aaa.attacks.losses import cross_entropy
from keras_aaa.checks import check_number

TINY = 1e-7


@dataclass(frozen=True)
class Loss:
    """A weighted sum of losses on the model's outputs for a training image.

    Paper: AAA, section "Adversarially-Trained Autoencoder Augmentation" (ce, mse); Revisiting,
    equation 1 and Figure 2 (mse as lambda, temperature, gce).

    Args:
        ce: weight of the cross-entropy of softmax(logits / temperature), in nats.
        mse: weight of the mean over pixels of (reconstruction - image)^2, in squared image units.
        temperature: divides the logits in ce, > 0. Attacks and users get the undivided logits.
        gce: weight of the guided complement entropy, see below.
        alpha: exponent of gce, > 0.
        latent: weight of the cross-entropy of a dense layer on an autoencoder's latent
            (TwoHeadedTask), in nats. This term is ours. It needs ce, mse or gce beside it.
    """

    ce: float
    mse: float
    temperature: float = 1.0
    gce: float = 0.0
    alpha: float = 0.2
    latent: float = 0.0

    def __post_init__(self):
        weights = (self.ce, self.mse, self.gce)
        if not (min(*weights, self.latent) >= 0 and sum(weights) > 0):
            raise ValueError(
                "Loss: expected weights >= 0, and ce, mse or gce > 0; "
                f"got ce={self.ce}, mse={self.mse}, gce={self.gce}, latent={self.latent}."
            )
        check_number("temperature", self.temperature, 0, above=True)
        check_number("alpha", self.alpha, 0, above=True)

    def __call__(self, images, labels, reconstruction, logits, latent_logits=None) -> tf.Tensor:
        """Return the loss of each example, float32 [n].

        Args:
            images: clean images [n, h, w, c].
            labels: int64 [n].
            reconstruction: A(x') [n, h, w, c], or None without an autoencoder.
            logits: C(A(x')) [n, classes].
            latent_logits: logits of the latent [n, classes], or None without a latent weight.

        Raises:
            ValueError: if mse needs a reconstruction, or latent needs latent_logits, that is None.
        """
        value = tf.zeros(tf.shape(labels))
        if self.ce:
            value += self.ce * cross_entropy(logits / self.temperature, labels)
        if self.gce:
            value += self.gce * guided_complement_entropy(logits, labels, self.alpha)
        if self.mse:
            if reconstruction is None:
                raise ValueError("Loss: an mse weight needs an autoencoder's reconstruction.")
            value += self.mse * tf.reduce_mean(tf.square(reconstruction - images), axis=(1, 2, 3))
        if self.latent:
            if latent_logits is None:
                raise ValueError("Loss: a latent weight needs the latent's logits.")
            value += self.latent * cross_entropy(latent_logits, labels)
        return value


def guided_complement_entropy(logits: tf.Tensor, labels: tf.Tensor, alpha: float) -> tf.Tensor:
    """Return p_y^alpha * sum over j != y of q_j log q_j / log(classes - 1), [n], in [-1, 0].

    q_j = p_j / (1 - p_y) is the distribution over the incorrect classes. At the minimum, the label
    has all the probability and q is uniform. Chen et al. 2019, "Improving Adversarial Robustness
    via Guided Complement Entropy", with the paper's normalisation.

    Args:
        logits: float32 [n, classes], three classes or more.
        labels: int64 [n].
        alpha: exponent of the guiding factor.
    """
    classes = logits.shape[-1]
    label = tf.one_hot(labels, classes)
    probability = tf.reduce_sum(label * tf.nn.softmax(logits), axis=1)
    # The softmax over the incorrect classes is q. It avoids division by 1 - p_y, which can vanish.
    others = logits - 1e9 * label
    entropy = tf.reduce_sum(tf.nn.softmax(others) * tf.nn.log_softmax(others) * (1 - label), axis=1)
    return (probability + TINY) ** alpha * entropy / math.log(classes - 1)


LOSSES = {"ce": Loss(1.0, 0.0), "mse": Loss(0.0, 1.0), "ce_mse": Loss(1.0, 1.0)}
