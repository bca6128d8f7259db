"""Logits from models that end in probabilities or in a single output."""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.fast.keras_graph import last_operation

SMALLEST = 1e-37  # lower bound of probabilities; float32 still represents it


# The functions that compute a softmax or a sigmoid, as activations or as operations.
SOFTMAX = (keras.activations.softmax, keras.ops.softmax, tf.nn.softmax)
SIGMOID = (keras.activations.sigmoid, keras.ops.sigmoid, tf.nn.sigmoid)


def ends_in_softmax(model: keras.Model) -> bool:
    """Return whether the model's last layer or operation is, or applies, a softmax."""
    return _ends_in(model, SOFTMAX)


def _ends_in(model: keras.Model, functions: tuple[Callable, ...]) -> bool:
    last = _last(model)
    if isinstance(last, keras.Model):
        return _ends_in(last, functions)
    applied = getattr(last, "activation", None), getattr(last, "function", None)  # Lambda's
    # Keras names its operations and its layer after the function: Softmax, Sigmoid.
    return any(function in applied for function in functions) or (
        type(last).__module__.startswith("keras.")
        and type(last).__name__.lower() == functions[0].__name__
    )


def _last(model: keras.Model):
    """Return the layer or operation that computes the model's output; None if it is unknown."""
    if len(getattr(model, "outputs", None) or ()) == 1:
        return last_operation(model)
    return model.layers[-1] if model.layers else None


def as_logits(model: keras.Model) -> keras.Model:
    """Return the model without its final softmax, or the model itself if it has none.

    Removing a softmax gives a warning.

    The returned model shares its layers with the original. There is one exception: a last dense
    layer that applies softmax itself is copied with its present weights.

    Args:
        model: a functional keras.Model: images -> logits or probabilities [n, classes].

    Returns:
        keras.Model: images -> logits [n, classes]; `model` itself if it does not end in softmax.

    Raises:
        ValueError: if the softmax cannot be removed (a custom model).
    """
    if not ends_in_softmax(model):
        return model
    warnings.warn(
        f"Model {model.name!r} ends in softmax; its logits are used instead.", stacklevel=3
    )
    return _without_last_activation(model)


def _without_last_activation(model: keras.Model) -> keras.Model:
    last = _last(model)
    if isinstance(last, keras.Model):
        inner = _without_last_activation(last)
        return keras.models.clone_model(
            model, clone_function=lambda layer: inner if layer is last else layer
        )
    if not hasattr(last, "input"):
        raise ValueError(
            f"Cannot remove the last activation of model {model.name!r}: pass one with logits."
        )
    if not hasattr(last, "kernel"):  # a layer or operation that only applies the function
        return keras.Model(_inputs(model), last.input, name=model.name)
    config = {**last.get_config(), "activation": "linear"}
    linear = type(last).from_config(config)
    outputs = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(_inputs(model), outputs, name=model.name)


def are_probabilities(outputs) -> bool:
    """Return whether outputs [n, classes] are not negative and each row sums to 1."""
    values = np.asarray(outputs, np.float64)
    return bool(values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() < 1e-3)


def of_probabilities(model: Callable) -> Callable:
    """Return a model of the log-probabilities, which are logits up to a constant.

    Use it for a softmax that as_logits cannot find or remove: an operation, or a softmax inside a
    SavedModel.

    Args:
        model: keras.Model or callable: images -> probabilities [n, classes].

    Returns:
        Images -> log-probabilities: a keras.Model if `model` is a functional one, otherwise a
        callable.
    """
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        return keras.Model(_inputs(model), log_probabilities(model.outputs[0]), name=model.name)
    return lambda images: log_probabilities(model(images))


def two_classes(model: Callable, probabilities: bool = False) -> Callable:
    """Return a model with logits of two classes, from a binary classifier with a single output.

    The logit of class 0 is 0, and that of class 1 is the classifier's logit, so that softmax over
    both gives the sigmoid. A sigmoid at the end of a keras.Model is found and removed.

    Args:
        model: keras.Model or callable: images -> [n, 1].
        probabilities: whether the output is a probability of class 1 that is not made by a sigmoid
            at the end of a keras.Model.

    Returns:
        Images -> logits [n, 2]: a keras.Model if `model` is a functional one, otherwise a callable.
    """

    def logits(output):
        if probabilities:
            output = log_probabilities(output) - log_probabilities(1 - output)
        return keras.ops.concatenate([keras.ops.zeros_like(output), output], axis=-1)

    if not isinstance(model, keras.Model) or not getattr(model, "outputs", None):
        return lambda images: logits(model(images))
    sigmoid = not probabilities and _ends_in(model, SIGMOID)
    single = _without_last_activation(model) if sigmoid else model
    return keras.Model(_inputs(single), logits(single.outputs[0]), name=model.name)


def _inputs(model: keras.Model):
    """Return the input of a model; Keras warns if a model of a list of one is called with one."""
    return model.inputs[0] if len(model.inputs) == 1 else model.inputs


def log_probabilities(probabilities, smallest: float = SMALLEST):
    """Return log(max(probabilities, smallest)), which are logits up to a constant.

    Args:
        probabilities: [n, classes], a tensor of Keras or TensorFlow.
        smallest: smaller probabilities are raised to it, so that the logarithm is finite.
    """
    return keras.ops.log(keras.ops.maximum(probabilities, smallest))
