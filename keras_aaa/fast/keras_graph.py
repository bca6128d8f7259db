"""Which layers read the output of a layer. Keras has no public name for it.

This is the only file that uses private attributes of Keras.
"""

from keras import layers


def calls(operation) -> list:
    """Return the calls of a layer or operation in functional models, in order.

    Each has `operation` and `arguments`, as Keras' own Node does.
    """
    return list(operation._inbound_nodes)


def readers(layer: layers.Layer) -> list:
    """Return the operations that read the outputs of a layer; one per reading."""
    return [node.operation for node in layer._outbound_nodes]
