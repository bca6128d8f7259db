"""Tasks: what is trained, against what, on which loss. One class for each kind of training."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_aaa.models import defend
from keras_aaa.models.joint import classifying_half, reconstructing_half
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.losses import LOSSES, Loss


class Outputs(NamedTuple):
    """What a task's models make of images; None for what the task does not have."""

    logits: tf.Tensor  # [n, classes]
    reconstruction: tf.Tensor | None = None  # [n, h, w, c]
    latent_logits: tf.Tensor | None = None  # [n, classes]


class Task(abc.ABC):
    """One thing to train. With a threat, training is adversarial.

    Attributes:
        loss: what each step minimises.
        threat: the ball of the training attack, or None.
        alternating_losses: minimised after `loss` in each step, each by an update of its own.
        classifiers: frozen classifiers behind the trained model; each step draws one of them.
    """

    loss: Loss
    threat: ThreatModel | None
    alternating_losses: tuple[Loss, ...]
    classifiers: tuple[keras.Model, ...]

    @property
    @abc.abstractmethod
    def trained(self) -> keras.Model:
        """The model whose weights change."""

    @property
    def published(self) -> keras.Model:
        """The model that the training is for: all of `trained`, or the part without its helpers."""
        return self.trained

    @property
    @abc.abstractmethod
    def attacked(self) -> keras.Model:
        """The part of the defence before the frozen classifier; the whole where there is none."""

    @abc.abstractmethod
    def defences(self) -> list[keras.Model]:
        """Return images -> logits: one model, or one for each frozen classifier."""

    @abc.abstractmethod
    def outputs(self, output, classifier) -> Outputs:
        """Return what the losses are made of.

        Args:
            output: of `trained`.
            classifier: the frozen classifier as a callable, or None where there is none.
        """

    def reconstructing(self) -> keras.Model | None:
        """Return images -> reconstruction, or None where nothing is reconstructed."""
        return None

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The different losses that are minimised, `loss` first."""
        return tuple(dict.fromkeys((self.loss, *self.alternating_losses)))


@dataclass(frozen=True)
class ClassifierTask(Task):
    """Train a classifier. Paper: AAA, the rows of natural and adversarial training.

    Args:
        classifier: images -> logits.
        loss: without terms of a reconstruction or a latent.
        threat: see Task.

    Raises:
        TypeError, ValueError: for a loss that does not fit.
    """

    classifier: keras.Model
    loss: Loss = LOSSES["ce"]
    threat: ThreatModel | None = None
    alternating_losses: tuple[Loss, ...] = field(default=(), init=False)
    classifiers: tuple[keras.Model, ...] = field(default=(), init=False)

    def __post_init__(self):
        _check_model("classifier", self.classifier)
        _check_losses(self, reconstruction=False)

    @property
    def trained(self) -> keras.Model:
        return self.classifier

    @property
    def attacked(self) -> keras.Model:
        return self.classifier

    def defences(self) -> list[keras.Model]:
        return [self.classifier]

    def outputs(self, output, classifier) -> Outputs:
        return Outputs(output)


@dataclass(frozen=True)
class AutoencoderTask(Task):
    """Train an autoencoder before frozen classifiers.

    Paper: AAA, section "Adversarially-Trained Autoencoder Augmentation"; Table 8 for several
    classifiers.

    Args:
        autoencoder: images -> images.
        classifiers: a tuple of one or more, images -> logits.
        loss, threat: see Task.

    Raises:
        TypeError, ValueError: for models or a loss that do not fit.

    Example:
        AutoencoderTask(own, (classifier,), LOSSES["ce_mse"], ThreatModel("linf", 0.3))
    """

    autoencoder: keras.Model
    classifiers: tuple[keras.Model, ...]
    loss: Loss
    threat: ThreatModel | None = None
    alternating_losses: tuple[Loss, ...] = field(default=(), init=False)

    def __post_init__(self):
        _check_model("autoencoder", self.autoencoder)
        _check_classifiers(self.classifiers)
        _check_losses(self)

    @property
    def trained(self) -> keras.Model:
        return self.autoencoder

    @property
    def attacked(self) -> keras.Model:
        return self.autoencoder

    def defences(self) -> list[keras.Model]:
        return [defend(self.autoencoder, classifier) for classifier in self.classifiers]

    def outputs(self, output, classifier) -> Outputs:
        return Outputs(classifier(output), output)

    def reconstructing(self) -> keras.Model:
        return self.autoencoder


@dataclass(frozen=True)
class TwoHeadedTask(Task):
    """Train an autoencoder before frozen classifiers, and a layer that classifies its latent.

    Args:
        two_headed: what models.surgery.two_headed makes of the autoencoder.
        autoencoder, classifiers, threat: as for AutoencoderTask.
        loss: with a latent weight.

    Raises:
        TypeError, ValueError: for models or a loss that do not fit.
    """

    two_headed: keras.Model
    autoencoder: keras.Model
    classifiers: tuple[keras.Model, ...]
    loss: Loss
    threat: ThreatModel | None = None
    alternating_losses: tuple[Loss, ...] = field(default=(), init=False)

    def __post_init__(self):
        _check_model("two_headed", self.two_headed, outputs=2)
        _check_model("autoencoder", self.autoencoder)
        _check_classifiers(self.classifiers)
        _check_losses(self, latent=True)
        shared = {id(variable) for variable in self.autoencoder.variables}
        if not shared < {id(variable) for variable in self.two_headed.variables}:
            raise ValueError(
                "two_headed: expected what models.surgery.two_headed makes of the task's "
                f"autoencoder; got {self.two_headed.name}, which has other layers."
            )

    @property
    def trained(self) -> keras.Model:
        return self.two_headed

    @property
    def published(self) -> keras.Model:
        return self.autoencoder

    @property
    def attacked(self) -> keras.Model:
        return self.autoencoder

    def defences(self) -> list[keras.Model]:
        return [defend(self.autoencoder, classifier) for classifier in self.classifiers]

    def outputs(self, output, classifier) -> Outputs:
        latent_logits, reconstruction = output
        return Outputs(classifier(reconstruction), reconstruction, latent_logits)

    def reconstructing(self) -> keras.Model:
        return self.autoencoder


@dataclass(frozen=True)
class JointTask(Task):
    """Train a network that classifies and reconstructs. Paper: Revisiting, section 3.2.

    Args:
        network: images -> (logits, reconstruction).
        loss, threat: see Task.
        alternating_losses: the paper's alternating method is ce, then mse gamma times. Each loss
            has an optimizer of its own: with one for all, the momentum of one loss would move
            weights that another has no gradient for.

    Raises:
        TypeError, ValueError: for a model or a loss that does not fit.
    """

    network: keras.Model
    loss: Loss
    threat: ThreatModel | None = None
    alternating_losses: tuple[Loss, ...] = ()
    classifiers: tuple[keras.Model, ...] = field(default=(), init=False)

    def __post_init__(self):
        _check_model("network", self.network, outputs=2)
        _check_losses(self)

    @property
    def trained(self) -> keras.Model:
        return self.network

    @property
    def attacked(self) -> keras.Model:
        return classifying_half(self.network)

    def defences(self) -> list[keras.Model]:
        return [classifying_half(self.network)]

    def outputs(self, output, classifier) -> Outputs:
        logits, reconstruction = output
        return Outputs(logits, reconstruction)

    def reconstructing(self) -> keras.Model:
        return reconstructing_half(self.network)


def _check_model(name: str, model, outputs: int = 1) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"{name}: expected a keras.Model, got {type(model).__name__}.")
    found = len(getattr(model, "outputs", None) or (None,))
    if found != outputs:
        raise ValueError(f"{name}: expected a model of {outputs} outputs, got {found}.")


def _check_classifiers(classifiers: Sequence[keras.Model]) -> None:
    if not isinstance(classifiers, tuple):
        kind = type(classifiers).__name__
        raise TypeError(f"classifiers: expected a tuple of models, (model,) for one; got {kind}.")
    if not classifiers:
        raise ValueError("classifiers: expected one or more, got none.")
    for classifier in classifiers:
        _check_model("classifiers", classifier)


def _check_losses(task: Task, reconstruction: bool = True, latent: bool = False) -> None:
    kind = type(task).__name__
    for loss in (task.loss, *task.alternating_losses):
        if not isinstance(loss, Loss):
            raise TypeError(f"{kind}: expected a Loss, LOSSES holds some; got {loss!r}.")
        if loss.mse and not reconstruction:
            raise ValueError(f"{kind}: there is no reconstruction, so expected mse=0; got {loss}.")
    weights = [loss.latent for loss in task.losses]
    if any(weights) != latent:
        raise ValueError(
            f"{kind}: expected {'a' if latent else 'no'} latent weight, got {weights}; a "
            "TwoHeadedTask is for losses that have one."
        )
