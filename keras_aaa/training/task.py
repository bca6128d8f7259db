"""Task: what is trained, against what, on which loss."""

from dataclasses import dataclass

import keras

from keras_aaa.models import defend
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.losses import Loss


@dataclass(frozen=True)
class Task:
    """One thing to train; the rest stays frozen.

    With an autoencoder, it is trained before the frozen classifiers (one of them drawn for each
    step); without one, the single classifier is. With a threat, training is adversarial.
    Paper: AAA, section "Adversarially-Trained Autoencoder Augmentation" and Table 8.
    """

    classifiers: tuple[keras.Model, ...]
    loss: Loss
    autoencoder: keras.Model | None = None
    threat: ThreatModel | None = None

    def __post_init__(self):
        if not self.classifiers or (self.autoencoder is None and len(self.classifiers) > 1):
            raise ValueError(
                "Task: expected one classifier to train, or an autoencoder and one or more frozen "
                f"classifiers; got {len(self.classifiers)} classifiers and "
                f"{'an' if self.autoencoder else 'no'} autoencoder."
            )

    @property
    def trained(self) -> keras.Model:
        """The model whose weights change."""
        return self.autoencoder if self.autoencoder is not None else self.classifiers[0]

    def defences(self) -> list[keras.Model]:
        """Return each classifier, behind the autoencoder where there is one."""
        if self.autoencoder is None:
            return list(self.classifiers)
        return [defend(self.autoencoder, classifier) for classifier in self.classifiers]
