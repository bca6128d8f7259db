"""Recognise a classifier that ends in softmax, and give back its logits."""

import warnings

import keras
from keras import layers


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
        ValueError: if the softmax sits where it cannot be taken off (a nested or custom model).
    """
    if not ends_in_softmax(model):
        return model
    warnings.warn(
        f"Model {model.name!r} ends in softmax; its logits are used instead.", stacklevel=3
    )
    last = model.layers[-1]
    if isinstance(last, keras.Model) or not hasattr(last, "input"):
        raise ValueError(f"Cannot take the softmax off model {model.name!r}: give one with logits.")
    if isinstance(last, layers.Softmax | layers.Activation):
        return keras.Model(model.inputs, last.input, name=model.name)
    config = {**last.get_config(), "activation": "linear"}
    linear = type(last).from_config(config)
    outputs = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(model.inputs, outputs, name=model.name)
