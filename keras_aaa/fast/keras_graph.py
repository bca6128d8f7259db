"""What Keras knows of layers and graphs and has no public name for.

This is the only file that uses private attributes of Keras.
"""

import functools

import keras
import numpy as np
from keras import layers


def calls(operation) -> list:
    """Return the calls of a layer or operation in functional models, in order.

    Each has `operation` and `arguments`, as Keras' own Node does.
    """
    return list(operation._inbound_nodes)


def readers(layer: layers.Layer) -> list:
    """Return the operations that read the outputs of a layer; one per reading."""
    return [node.operation for node in layer._outbound_nodes]


def all_layers(layer: layers.Layer) -> list[layers.Layer]:
    """Return a layer or model and all layers inside it, however deep."""
    return list(layer._flatten_layers(include_self=True, recursive=True))


def last_operation(model: keras.Model):
    """Return the layer or operation that computes the only output of a functional model."""
    return model.outputs[0]._keras_history.operation


def own_attributes(layer: layers.Layer) -> dict:
    """Return the attributes that the layer's class or its user has set, not Keras' bookkeeping."""
    ours = {name: value for name, value in vars(layer).items() if name not in _bookkeeping()}
    return {name: value for name, value in ours.items() if not name.startswith("_self_")}


@functools.cache
def _bookkeeping() -> frozenset[str]:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    zeros = np.zeros((1, 1))
    model.fit(zeros, zeros, verbose=0)
    model.evaluate(zeros, zeros, verbose=0)
    model.predict(zeros, verbose=0)
    return frozenset((*vars(layers.Layer()), *vars(model)))
