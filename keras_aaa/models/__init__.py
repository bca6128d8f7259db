"""Functional builders of every architecture, by name, and defend()."""

from keras_aaa.models.defended import defend
from keras_aaa.models.registry import ARCHITECTURES, build

__all__ = ["ARCHITECTURES", "build", "defend"]
