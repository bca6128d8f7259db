"""The threat model: the norm ball an attacker may move an image in."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta

from keras_aaa.checks import check_number, lookup

NORMS = {"linf": np.inf, "l2": 2}

# A point on the ball's surface may leave it by float32 rounding of x + delta.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ThreatModel:
    """A ball of radius `eps` around each image, cut by the box [0, 1].

    Args:
        norm: "linf" or "l2".
        eps: radius, in the units of the images ([0, 1]); not negative.

    Raises:
        ValueError: for another norm, or an eps that is negative or not finite.
    """

    norm: str
    eps: float

    def __post_init__(self):
        lookup("norm", self.norm, NORMS)
        check_number("eps", self.eps, 0)

    @property
    def order(self) -> float:
        """The norm's order as NumPy and CleverHans write it (np.inf or 2)."""
        return NORMS[self.norm]

    def project(self, x_adv, x, eps=None):
        """Return the point of the ball around `x`, inside [0, 1], that `x_adv` is clipped to.

        Args:
            x_adv, x: float32 [n, h, w, c] in [0, 1].
            eps: scalar tensor that replaces the radius (a training warm-up), or None.
        """
        x_adv, x = tf.convert_to_tensor(x_adv), tf.convert_to_tensor(x)
        eta = clip_eta(x_adv - x, self.order, self.eps if eps is None else eps)
        return tf.clip_by_value(x + eta, 0.0, 1.0)

    def contains(self, x_adv, x) -> np.ndarray:
        """Return bool [n]: which `x_adv` lie in the ball around `x` and in [0, 1].

        NaN lies in no ball. Rounding in float32 is tolerated (TOLERANCE).
        """
        x_adv, x = (np.asarray(a, np.float64) for a in (x_adv, x))
        if not len(x):
            return np.zeros(0, bool)
        x_adv, x = (a.reshape(len(a), -1) for a in (x_adv, x))
        distance = np.linalg.norm(x_adv - x, ord=self.order, axis=1)
        inside = (x_adv >= -TOLERANCE) & (x_adv <= 1 + TOLERANCE)
        return (distance <= self.eps + TOLERANCE) & inside.all(axis=1)


# eps of MNIST, Fashion-MNIST and CIFAR-10 was lost from the AAA paper's text; these are the
# field's usual radii and are printed as such beside every result.
THREAT_MODELS = {
    "mnist": ThreatModel("linf", 0.3),
    "fashion_mnist": ThreatModel("linf", 0.1),
    "cifar10": ThreatModel("linf", 8 / 255),
}


def threat_for(dataset: str) -> ThreatModel:
    """Return the threat model that results on `dataset` are reported under.

    Raises:
        ValueError: if there is none for this dataset; lists those there are.
    """
    return lookup("dataset with a threat model", dataset, THREAT_MODELS)
