"""Task: what is trained, against what, on which loss."""

from dataclasses import dataclass

import keras

from keras_aaa.models import defend
from keras_aaa.models.joint import classifying_half, reconstructing_half
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.losses import Loss


@dataclass(frozen=True)
class Task:
    """One thing to train; the rest stays frozen. With a threat, training is adversarial.

    Paper: AAA, section "Adversarially-Trained Autoencoder Augmentation" and Table 8; Revisiting,
    section 3.2.

    Args:
        classifiers: with an autoencoder, the frozen classifiers behind it, of which each step draws
            one; without one, the single classifier to train. Empty for a joint network.
        loss: what each step minimises.
        autoencoder: what is trained before the classifiers.
        threat: the ball of the training attack, or None.
        joint: a model with two outputs, logits and reconstruction, to train by itself.
        then: losses minimised after `loss` in each step, on the same images, each by an update of
            its own with an optimizer of its own (Revisiting's alternating method: ce, then mse
            gamma times). One optimizer for all would let the momentum of one loss move what the
            update for another has no gradient for.
        two_headed: models.surgery.two_headed of `autoencoder`, for losses with a latent weight: the
            layer that makes logits of the latent is trained with it.
    """

    classifiers: tuple[keras.Model, ...]
    loss: Loss
    autoencoder: keras.Model | None = None
    threat: ThreatModel | None = None
    joint: keras.Model | None = None
    then: tuple[Loss, ...] = ()
    two_headed: keras.Model | None = None

    def __post_init__(self):
        if not isinstance(self.classifiers, tuple):
            kind = type(self.classifiers).__name__
            raise TypeError(f"Task: expected a tuple of classifiers, (model,) for one; got {kind}.")
        for loss in (self.loss, *self.then):
            if not isinstance(loss, Loss):
                raise TypeError(f"Task: expected a Loss, LOSSES holds some; got {loss!r}.")
        if self.joint is not None:
            if self.classifiers or self.autoencoder or len(self.joint.outputs) != 2:
                raise ValueError(
                    "Task: expected a joint network of two outputs (logits, reconstruction) and "
                    "neither classifiers nor an autoencoder with it."
                )
        elif not self.classifiers or (self.autoencoder is None and len(self.classifiers) > 1):
            raise ValueError(
                "Task: expected one classifier to train, or an autoencoder and one or more frozen "
                f"classifiers; got {len(self.classifiers)} classifiers and "
                f"{'an' if self.autoencoder else 'no'} autoencoder."
            )
        of_latent = any(loss.latent for loss in self.losses)
        if of_latent != (self.two_headed is not None):
            raise ValueError(
                "Task: expected a two_headed model if and only if a loss has a latent weight; got "
                f"{'none' if of_latent else 'one'} and latent weights "
                f"{[loss.latent for loss in self.losses]}."
            )
        if self.two_headed is not None and not _shares(self.two_headed, self.autoencoder):
            raise ValueError(
                "Task: expected as two_headed what models.surgery.two_headed makes of the task's "
                f"autoencoder; got {self.two_headed.name}, which has other layers."
            )

    @property
    def trained(self) -> keras.Model:
        """The model whose weights change."""
        for model in (self.joint, self.two_headed):
            if model is not None:
                return model
        return self.autoencoder if self.autoencoder is not None else self.classifiers[0]

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The different losses that are minimised, `loss` first."""
        return tuple(dict.fromkeys((self.loss, *self.then)))

    def defences(self) -> list[keras.Model]:
        """Return each classifier, behind the autoencoder where there is one."""
        if self.joint is not None:
            return [classifying_half(self.joint)]
        if self.autoencoder is None:
            return list(self.classifiers)
        return [defend(self.autoencoder, classifier) for classifier in self.classifiers]

    def reconstructing(self) -> keras.Model | None:
        """Return images -> reconstruction, or None where nothing is reconstructed."""
        return self.autoencoder if self.joint is None else reconstructing_half(self.joint)

    def outputs(self, output, frozen):
        """Return (logits, reconstruction, latent's logits), the latter two None where not there.

        Args:
            output: what `trained` made of the images.
            frozen: the classifier behind the autoencoder, as a callable; None without one.
        """
        if self.joint is not None:
            return (*output, None)
        if self.two_headed is not None:
            latent_logits, reconstruction = output
            return frozen(reconstruction), reconstruction, latent_logits
        return (output, None, None) if frozen is None else (frozen(output), output, None)


def _shares(two_headed: keras.Model, autoencoder: keras.Model | None) -> bool:
    if autoencoder is None or len(two_headed.outputs) != 2:
        return False
    return {id(v) for v in autoencoder.variables} < {id(v) for v in two_headed.variables}
