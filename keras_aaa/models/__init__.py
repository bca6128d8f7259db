"""Functional Keras models: builders by name, defend() and as_logits()."""

from keras_aaa.models.probabilities import as_logits, of_probabilities, two_classes
from keras_aaa.models.registry import ARCHITECTURES, ModelConfig, build
from keras_aaa.models.surgery import defend

__all__ = [
    "ARCHITECTURES",
    "ModelConfig",
    "as_logits",
    "build",
    "defend",
    "of_probabilities",
    "two_classes",
]
