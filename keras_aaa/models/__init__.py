"""Functional builders of every architecture, by name, defend() and as_logits()."""

from keras_aaa.models.defended import defend
from keras_aaa.models.registry import ARCHITECTURES, build
from keras_aaa.models.softmax import as_logits

__all__ = ["ARCHITECTURES", "as_logits", "build", "defend"]
