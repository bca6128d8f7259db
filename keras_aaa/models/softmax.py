"""Recognise a classifier that ends in softmax, and give back its logits."""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

SMALLEST = 1e-37  # a probability that float32 still holds


def ends_in_softmax(model: keras.Model) -> bool:
    """Return whether the model's last layer is, or applies, a softmax."""
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        return ends_in_softmax(last)
    activation = getattr(last, "activation", None)
    return isinstance(last, layers.Softmax) or activation is keras.activations.softmax


def as_logits(model: keras.Model) -> keras.Model:
    """Return `model` itself, or, if it ends in softmax, a model that stops just before it.

    The returned model shares every layer with the original, but for a last dense layer that
    applies softmax itself: that one is copied, with its weights as they are now.

    Args:
        model: a functional keras.Model: images -> logits or probabilities [n, classes].

    Raises:
        ValueError: if the softmax sits where it cannot be taken off (a custom model).
    """
    if not ends_in_softmax(model):
        return model
    warnings.warn(
        f"Model {model.name!r} ends in softmax; its logits are used instead.", stacklevel=3
    )
    return _without_softmax(model)


def _without_softmax(model: keras.Model) -> keras.Model:
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        inner = _without_softmax(last)
        return keras.models.clone_model(
            model, clone_function=lambda layer: inner if layer is last else layer
        )
    if not hasattr(last, "input"):
        raise ValueError(f"Cannot take the softmax off model {model.name!r}: give one with logits.")
    if isinstance(last, layers.Softmax | layers.Activation):
        return keras.Model(model.inputs, last.input, name=model.name)
    config = {**last.get_config(), "activation": "linear"}
    linear = type(last).from_config(config)
    outputs = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(model.inputs, outputs, name=model.name)


def are_probabilities(outputs) -> bool:
    """Return whether outputs [n, classes] are not negative and each row sums to 1."""
    values = np.asarray(outputs, np.float64)
    return bool(values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() < 1e-3)


def of_probabilities(model: Callable) -> Callable:
    """Return the logarithms of a model that answers with probabilities: logits, up to a constant.

    For a softmax that as_logits cannot see or take off: an operation, or inside a SavedModel.

    Args:
        model: keras.Model or callable: images -> probabilities [n, classes].

    Returns:
        keras.Model if `model` is a functional one, else a callable: images -> log-probabilities.
    """
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        logs = keras.ops.log(keras.ops.maximum(model.outputs[0], SMALLEST))
        return keras.Model(model.inputs, logs, name=model.name)
    return lambda images: tf.math.log(tf.maximum(model(images), SMALLEST))
