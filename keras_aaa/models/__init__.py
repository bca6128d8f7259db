"""Functional Keras models: builders by name, defend() and as_logits()."""

from keras_aaa.models.registry import ARCHITECTURES, ModelConfig, build
from keras_aaa.models.surgery import as_logits, defend

__all__ = ["ARCHITECTURES", "ModelConfig", "as_logits", "build", "defend"]
