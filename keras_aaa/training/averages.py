"""An exponential moving average of the weights, kept beside those that are trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf


class Averages:
    """Averaged copies of all floating-point variables of a model, statistics included.

    After update n (from 0 on) each copy keeps the fraction min(decay, (1 + n) / (10 + n)) of
    itself, so that the first weights, which are random, are soon forgotten.

    Args:
        model: what is trained; call this in the scope of the strategy that it was built in.
        decay: the fraction that an average keeps of itself in an update, in (0, 1).
    """

    def __init__(self, model: keras.Model, decay: float):
        self.decay = decay
        self.averaged = [v for v in model.variables if "float" in v.dtype]
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.copies = [tf.Variable(v.value, **once) for v in self.averaged]
        self.updates = tf.Variable(0, dtype=tf.int64, **once)

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint has to hold."""
        return [*self.copies, self.updates]

    def update(self) -> None:
        """Move the averages towards the present weights; graph code, after the optimizer's."""
        count = tf.cast(self.updates, tf.float32)
        kept = tf.minimum(self.decay, (1.0 + count) / (10.0 + count))
        for copy, variable in zip(self.copies, self.averaged, strict=True):
            copy.assign(kept * copy + (1.0 - kept) * tf.cast(variable.value, copy.dtype))
        self.updates.assign_add(1)

    def publish(self) -> None:
        """Give the model the averaged weights."""
        for copy, variable in zip(self.copies, self.averaged, strict=True):
            variable.assign(copy)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and its own after it."""
        own = [tf.identity(variable.value) for variable in self.averaged]
        self.publish()
        try:
            yield
        finally:
            for value, variable in zip(own, self.averaged, strict=True):
                variable.assign(value)
