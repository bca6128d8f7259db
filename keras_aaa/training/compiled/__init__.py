"""Trainings compiled ahead of time, which run on machines that have JAX and no TensorFlow."""

from keras_aaa.training.compiled.export import export_training
from keras_aaa.training.compiled.job import Job, result

__all__ = ["Job", "export_training", "result"]
