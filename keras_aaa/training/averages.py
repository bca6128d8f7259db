"""Exponential moving averages of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf


class Averages:
    """Averaged copies of all floating-point variables of a model, including its statistics.

    Update n (counted from 0) keeps the fraction min(decay, (1 + n) / (10 + n)) of each copy. The
    fraction starts small, so the random initial weights soon lose their influence.

    Args:
        model: the trained model; create the averages in the scope of its strategy.
        decay: the largest fraction of an average that an update keeps, in (0, 1).
    """

    def __init__(self, model: keras.Model, decay: float):
        self.decay = decay
        self.averaged = [v for v in model.variables if "float" in v.dtype]
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.copies = [tf.Variable(v.value, **once) for v in self.averaged]
        self.updates = tf.Variable(0, dtype=tf.int64, **once)

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables that a checkpoint must save."""
        return [*self.copies, self.updates]

    def update(self) -> None:
        """Move the averages towards the current weights; graph code, after the optimizer."""
        count = tf.cast(self.updates, tf.float32)
        fraction = tf.minimum(self.decay, (1.0 + count) / (10.0 + count))
        for copy, variable in zip(self.copies, self.averaged, strict=True):
            copy.assign(fraction * copy + (1.0 - fraction) * tf.cast(variable.value, copy.dtype))
        self.updates.assign_add(1)

    def publish(self) -> None:
        """Assign the averaged weights to the model."""
        for copy, variable in zip(self.copies, self.averaged, strict=True):
            variable.assign(copy)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Assign the averaged weights inside the block and restore the trained weights after it."""
        weights = [tf.identity(variable.value) for variable in self.averaged]
        self.publish()
        try:
            yield
        finally:
            for value, variable in zip(weights, self.averaged, strict=True):
                variable.assign(value)
