"""The private attributes of Keras that we rely on. If this fails, Keras has changed them."""

import keras
from keras import layers

from keras_aaa.fast.keras_graph import calls, readers

CHANGED = "Keras has changed its private graph attributes: adapt keras_aaa/fast/keras_graph.py"


def test_readers_and_calls_of_a_small_graph():
    inputs = keras.Input((4,))
    first, second, third = (layers.Dense(4) for _ in range(3))
    x = first(inputs)
    keras.Model(inputs, [second(x), third(x), third(inputs)])
    assert readers(first) == [second, third], CHANGED
    assert readers(second) == [], CHANGED
    assert [len(calls(layer)) for layer in (first, second, third)] == [1, 1, 2], CHANGED
    assert calls(second)[0].operation is second, CHANGED
