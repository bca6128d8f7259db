"""The losses an autoencoder or a classifier is trained with."""

from dataclasses import dataclass

import tensorflow as tf

from keras_aaa.attacks.logit_losses import cross_entropy


@dataclass(frozen=True)
class Loss:
    """ce * cross-entropy + mse * mean squared error, both on the adversarial image.

    Paper: AAA, section "Adversarially-Trained Autoencoder Augmentation".

    Args:
        ce: weight of CE(C(A(x')), y), in nats.
        mse: weight of the mean over pixels of (A(x') - x)^2, in squared image units.
    """

    ce: float
    mse: float

    def __post_init__(self):
        if not (self.ce >= 0 and self.mse >= 0 and self.ce + self.mse > 0):
            raise ValueError(
                f"Loss: expected weights >= 0, one of them > 0, got ce={self.ce}, mse={self.mse}."
            )

    def __call__(self, images, labels, reconstruction, logits) -> tf.Tensor:
        """Return the loss of each example, float32 [n].

        Args:
            images: clean images [n, h, w, c].
            labels: int64 [n].
            reconstruction: A(x') [n, h, w, c], or None where there is no autoencoder.
            logits: C(A(x')) [n, classes].

        Raises:
            ValueError: if there is an mse weight and no reconstruction.
        """
        value = tf.zeros(tf.shape(labels))
        if self.ce:
            value += self.ce * cross_entropy(logits, labels)
        if self.mse:
            if reconstruction is None:
                raise ValueError("Loss: an mse weight needs an autoencoder's reconstruction.")
            value += self.mse * tf.reduce_mean(tf.square(reconstruction - images), axis=(1, 2, 3))
        return value


LOSSES = {"ce": Loss(1.0, 0.0), "mse": Loss(0.0, 1.0), "ce_mse": Loss(1.0, 1.0)}
