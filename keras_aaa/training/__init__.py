"""Adversarial and natural training with one trainer."""

from keras_aaa.training.checkpoint import Preempted
from keras_aaa.training.losses import LOSSES, Loss
from keras_aaa.training.recipe import Recipe
from keras_aaa.training.task import (
    AutoencoderTask,
    ClassifierTask,
    JointTask,
    Task,
    TwoHeadedTask,
)
from keras_aaa.training.trainer import TrainingError, train

__all__ = [
    "LOSSES",
    "AutoencoderTask",
    "ClassifierTask",
    "JointTask",
    "Loss",
    "Preempted",
    "Recipe",
    "Task",
    "TrainingError",
    "TwoHeadedTask",
    "train",
]
