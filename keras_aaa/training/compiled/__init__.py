"""Training compiled ahead of time, for machines with JAX and without TensorFlow."""

from keras_aaa.training.compiled.export import export_training
from keras_aaa.training.compiled.job import Job, result

__all__ = ["Job", "export_training", "result"]
