"""Three cheap checks that run before every evaluation: can an attack see this model at all?

Carlini et al. 2019, "On Evaluating Adversarial Robustness"; Athalye et al. 2018.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_aaa.answers import PROBABILITIES, Doubt
from keras_aaa.attacks._engine.loop import loss_and_gradient
from keras_aaa.attacks.losses import ascended_cross_entropy
from keras_aaa.defence import Defence
from keras_aaa.evaluation.score import batches, logits_in_batches
from keras_aaa.fast.compilation import compiled, per_model
from keras_aaa.models.probabilities import are_probabilities
from keras_aaa.norms import SMALLEST

BATCH = 50  # images; gradients of large ones take much memory
EXAMPLES = 200  # of an evaluation, that the checks look at
RANDOM = 1e-4  # parallel sums round differently from call to call, but less than this
TOLERATED = 0.01  # share of images without a usable gradient


@dataclass(frozen=True)
class Evidence:
    """The result of one check. `warning` says what is suspicious; None if nothing is."""

    check: str
    figures: Mapping[str, float | list[float]]
    warning: str | None = None


def gradients_are_there(defence: Defence, images, labels) -> Evidence:
    """Gradients of the attacks' loss must be finite, and nonzero for nearly all images."""
    zero, broken = (float(mask.mean()) for mask in _without_gradient(defence, images, labels))
    figures = {"all_zero": zero, "not_finite": broken}
    warning = (
        f"The gradient of the loss is zero for {zero:.1%} of the images and not finite "
        f"for {broken:.1%}: attacks that use it cannot see the model there."
    )
    return Evidence("gradients_are_there", figures, warning if zero + broken > TOLERATED else None)


def answers_repeat(defence: Defence, images, labels) -> Evidence:
    """The same images must give the same logits. Attack a random defence with EOT."""
    one, two = (logits_in_batches(defence, images) for _ in range(2))
    difference = float(np.abs(one - two).max() / max(np.abs(one).max(), SMALLEST))
    warning = (
        f"Repeated calls differ by {difference:.2g} of the largest logit: the defence is random. "
        'Attack it with EOT, and evaluate it by autoattack with version "rand".'
    )
    return Evidence(
        "answers_repeat", {"difference": difference}, warning if difference > RANDOM else None
    )


def outputs_are_logits(defence: Defence, images, labels) -> Evidence:
    """Outputs that are probabilities saturate the cross-entropy and hide the gradient."""
    logits = logits_in_batches(defence, images)
    off = float(np.abs(logits.sum(1) - 1).max())
    warning = PROBABILITIES if are_probabilities(logits) else None
    return Evidence("outputs_are_logits", {"sum_minus_1": off}, warning)


Check = Callable[[Defence, np.ndarray, np.ndarray], Evidence]
CHECKS: tuple[Check, ...] = (
    gradients_are_there,
    answers_repeat,
    outputs_are_logits,
)


def doubts(defence: Defence, images, labels, checks: Sequence[Check] = CHECKS) -> list[Evidence]:
    """Return the evidence of each check, on the first EXAMPLES examples.

    Args:
        defence: keras.Model or callable: images -> logits.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n]; n >= 1.
    """
    images, labels = images[:EXAMPLES], labels[:EXAMPLES]
    return [check(defence, images, labels) for check in checks]


def warn_of_doubts(defence: Defence, images, labels, random: bool = False) -> None:
    """Give a Doubt warning for each check that finds something suspicious, once for a model.

    Of probabilities, check_answers has warned already.

    Args:
        defence, images, labels: as for doubts().
        random: whether the attack is made for defences that answer differently from call to call.
    """
    checks = [gradients_are_there] if random else [gradients_are_there, answers_repeat]

    def warn(reference):
        for evidence in doubts(reference(), images, labels, checks):
            if evidence.warning:
                warnings.warn(evidence.warning, Doubt, stacklevel=5)

    if len(labels):
        per_model(defence, (warn_of_doubts, tuple(images.shape[1:])), warn)


def unattackable(defence: Defence, images, labels) -> np.ndarray:
    """Return a mask, bool [n]: True where the gradient is NaN or infinite, with a warning.

    Attacks cannot see the model there, so that an evaluation must count these examples as
    misclassified.

    Args:
        defence: keras.Model or callable: images -> logits.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n].
    """
    if not len(labels):
        return np.zeros(0, bool)
    broken = _without_gradient(defence, images, labels)[1]
    if broken.any():
        warnings.warn(
            f"The gradients of {broken.sum()} of {len(broken)} correctly classified examples are "
            "not finite; these examples count as misclassified under attack.",
            Doubt,
            stacklevel=3,
        )
    return broken


def _without_gradient(defence: Defence, images, labels) -> np.ndarray:
    """Return two masks, bool [2, n]: the gradient is zero everywhere, is not finite."""
    run = compiled(defence, _gradient_graph)
    masks = [
        run(tf.gather(images, batch), tf.gather(labels, batch))[:, :count]
        for batch, count in batches(len(labels), BATCH)
    ]
    return np.concatenate(masks, axis=1)


def _gradient_graph(logits_of):
    """Return run(images, labels) -> masks, bool [2, n]: gradient is all zero, is not finite."""

    def run(images, labels):
        def loss(x):
            logits = logits_of(x)
            return ascended_cross_entropy(logits, labels), logits

        gradient = loss_and_gradient(loss, images, raw=True)[2]
        axes = (1, 2, 3)
        finite = tf.reduce_all(tf.math.is_finite(gradient), axes)
        return tf.stack([tf.reduce_all(gradient == 0, axes), ~finite])

    return run
