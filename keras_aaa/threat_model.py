"""The threat model: the ball around each image within which an attacker may move it."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number, lookup
from keras_aaa.norms import NORMS, Norm, project

# Rounding x + delta to float32 can move a point from the surface out of the ball.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ThreatModel:
    """A ball of radius `eps` around each image, intersected with [0, 1].

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius, in the units of the images ([0, 1]); not negative.

    Raises:
        ValueError: for another norm, an eps that is negative or not finite, or one above 1 in linf.
    """

    norm: str
    eps: float

    def __post_init__(self):
        lookup("norm", self.norm, NORMS)
        check_number("eps", self.eps, 0)
        if self.norm == "linf" and self.eps > 1:
            raise ValueError(
                f"eps: expected at most 1 in linf, because images lie in [0, 1]; got {self.eps} "
                "(8/255 is 0.0314)."
            )

    @property
    def metric(self) -> Norm:
        """The norm as an object: lengths, directions, projection."""
        return NORMS[self.norm]

    def project(self, x_adv, x):
        """Return x_adv clipped to the ball around x and to [0, 1].

        Args:
            x_adv, x: float32 [n, h, w, c]; x in [0, 1].
        """
        x_adv, x = tf.convert_to_tensor(x_adv), tf.convert_to_tensor(x)
        return project(x_adv, x, self.metric, self.eps)

    def perturb(self, images, noise) -> tf.Tensor:
        """Return images + eps * noise, clipped to the ball and to [0, 1]; random starts use it.

        Args:
            images: float32 [n, h, w, c] in [0, 1].
            noise: float32 of that shape; noise of length 1 ends on the surface of the ball.
        """
        return self.project(images + self.eps * noise, images)

    def default_step_size(self, steps: int) -> float:
        """Return 2.5 * eps / steps, with which PGD reaches the surface from any start in the ball.

        Madry et al. 2018, section 5.

        Args:
            steps: number of steps, >= 1.
        """
        return 2.5 * self.eps / steps

    def contains(self, x_adv, x) -> np.ndarray:
        """Return a mask, bool [n]: True where x_adv is in the ball around x and in [0, 1].

        NaN is outside every ball. Rounding in float32 is tolerated (TOLERANCE).
        """
        x_adv, x = (np.asarray(a, np.float64) for a in (x_adv, x))
        if not len(x):
            return np.zeros(0, bool)
        x_adv, x = (a.reshape(len(a), -1) for a in (x_adv, x))
        distance = np.linalg.norm(x_adv - x, ord=self.metric.order, axis=1)
        inside = (x_adv >= -TOLERANCE) & (x_adv <= 1 + TOLERANCE)
        return (distance <= self.eps + TOLERANCE) & inside.all(axis=1)


# The text of the AAA paper lost its radii. These are the usual ones of the field; every result
# states them.
THREAT_MODELS = {
    "mnist": ThreatModel("linf", 0.3),
    "fashion_mnist": ThreatModel("linf", 0.1),
    "cifar10": ThreatModel("linf", 8 / 255),
}


def threat_for(dataset: str) -> ThreatModel:
    """Return the threat model of the results on a data set.

    Raises:
        ValueError: if the data set has none; lists those that have one.
    """
    return lookup("dataset with a threat model", dataset, THREAT_MODELS)
