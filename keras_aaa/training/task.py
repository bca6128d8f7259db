"""Training tasks: a model, a threat and a loss. One class for each kind of training."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_aaa.models import defend
from keras_aaa.models.autoencoders import classifying_half, reconstructing_half
from keras_aaa.models.probabilities import ends_in_softmax
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.losses import LOSSES, Loss


class Outputs(NamedTuple):
    """The outputs of a task's models for a batch; None for an output that the task lacks."""

    logits: tf.Tensor  # [n, classes]
    reconstruction: tf.Tensor | None = None  # [n, h, w, c]
    latent_logits: tf.Tensor | None = None  # [n, classes]


class Task(abc.ABC):
    """A model to train with a loss. With a threat, training is adversarial.

    Attributes:
        loss: the loss that each step minimises.
        threat: the ball of the training attack, or None for natural training.
        alternating_losses: further losses. Each step minimises them after `loss`, with one update
            for each.
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
        """The model to publish: `trained`, or the part without layers that only training uses."""
        return self.trained

    @property
    def attacked(self) -> keras.Model:
        """The defence without its frozen classifier, or the whole defence if it has none."""
        return self.published

    @abc.abstractmethod
    def defences(self) -> list[keras.Model]:
        """Return the models images -> logits: one, or one for each frozen classifier."""

    @abc.abstractmethod
    def outputs(self, output, classifier) -> Outputs:
        """Return the outputs that the losses need.

        Args:
            output: the output of `trained`.
            classifier: the frozen classifier as a callable, or None if the task has none.
        """

    def reconstructing(self) -> keras.Model | None:
        """Return the model images -> reconstruction, or None if the task has no reconstruction."""
        return None

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The distinct losses to minimise, `loss` first."""
        return tuple(dict.fromkeys((self.loss, *self.alternating_losses)))


@dataclass(frozen=True)
class ClassifierTask(Task):
    """Train a classifier. Paper: AAA, the rows of natural and adversarial training.

    Args:
        classifier: images -> logits.
        loss: a loss without terms for a reconstruction or a latent.
        threat: see Task.

    Raises:
        TypeError, ValueError: for a model or a loss that does not fit.
    """

    classifier: keras.Model
    loss: Loss = LOSSES["ce"]
    threat: ThreatModel | None = None
    alternating_losses: tuple[Loss, ...] = field(default=(), init=False)
    classifiers: tuple[keras.Model, ...] = field(default=(), init=False)

    def __post_init__(self):
        _check_logits("classifier", self.classifier)
        _check_losses(self, reconstruction=False)

    @property
    def trained(self) -> keras.Model:
        return self.classifier

    def defences(self) -> list[keras.Model]:
        return [self.classifier]

    def outputs(self, output, classifier) -> Outputs:
        return Outputs(output)


@dataclass(frozen=True)
class AutoencoderTask(Task):
    """Train an autoencoder in front of frozen classifiers.

    Paper: AAA, section "Adversarially-Trained Autoencoder Augmentation"; Table 8 for several
    classifiers.

    Args:
        autoencoder: images -> images.
        classifiers: a tuple of one or more frozen classifiers, images -> logits.
        loss, threat: see Task.

    Raises:
        TypeError, ValueError: for models or a loss that do not fit.

    Example:
        AutoencoderTask(autoencoder, (classifier,), LOSSES["ce_mse"], ThreatModel("linf", 0.3))
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

    def defences(self) -> list[keras.Model]:
        return [defend(self.autoencoder, classifier) for classifier in self.classifiers]

    def outputs(self, output, classifier) -> Outputs:
        return Outputs(classifier(output), output)

    def reconstructing(self) -> keras.Model:
        return self.autoencoder


@dataclass(frozen=True)
class TwoHeadedTask(Task):
    """Train an autoencoder in front of frozen classifiers, and a layer that classifies its latent.

    Args:
        two_headed: the model that models.surgery.two_headed makes from the autoencoder.
        autoencoder, classifiers, threat: as for AutoencoderTask.
        loss: a loss with a latent weight.

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
                "two_headed: expected the model that models.surgery.two_headed makes from the "
                f"task's autoencoder; got {self.two_headed.name}, which has other layers."
            )

    @property
    def trained(self) -> keras.Model:
        return self.two_headed

    @property
    def published(self) -> keras.Model:
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
        alternating_losses: see Task. The paper's alternating method minimises ce once, then mse
            gamma times. Each loss has its own optimizer. In a shared optimizer, the momentum of
            one loss would move weights for which another loss has no gradient.

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
        _check_logits("network", classifying_half(self.network))
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
    count = len(getattr(model, "outputs", None) or (None,))
    if count != outputs:
        raise ValueError(f"{name}: expected a model of {outputs} outputs, got {count}.")


def _check_classifiers(classifiers: Sequence[keras.Model]) -> None:
    if not isinstance(classifiers, tuple) or not classifiers:
        raise TypeError(
            "classifiers: expected a tuple of one or more models, (model,) for one; got "
            f"{'none' if classifiers == () else type(classifiers).__name__}."
        )
    for classifier in classifiers:
        _check_logits("classifiers", classifier)


def _check_logits(name: str, model: keras.Model) -> None:
    _check_model(name, model)
    if ends_in_softmax(model):  # the attack and the losses would take probabilities for logits
        raise ValueError(
            f"{name}: expected a model that returns logits, but {model.name!r} ends in softmax; "
            "keras_aaa.models.as_logits(model) returns its logits."
        )


def _check_losses(task: Task, reconstruction: bool = True, latent: bool = False) -> None:
    kind = type(task).__name__
    for loss in (task.loss, *task.alternating_losses):
        if not isinstance(loss, Loss):
            raise TypeError(f"{kind}: expected a Loss, such as LOSSES['ce']; got {loss!r}.")
        if loss.mse and not reconstruction:
            raise ValueError(f"{kind}: expected mse=0 without a reconstruction, got {loss}.")
    weights = [loss.latent for loss in task.losses]
    if any(weights) != latent:
        raise ValueError(
            f"{kind}: expected {'a' if latent else 'no'} latent weight, got {weights}; use "
            "TwoHeadedTask for a loss with a latent weight."
        )
