"""Compile the graph of an attack once for each model, attack and shape."""

import threading
import weakref
from collections.abc import Callable

import tensorflow as tf

from keras_aaa.fast.fast_copy import freeze

_functions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def compiled(model, build: Callable[..., Callable], *key) -> Callable:
    """Return the tf.function of `build(defence)`, cached by model, build and key.

    Args:
        model: keras.Model, FastCopy or another callable images -> logits.
        build: takes the frozen callable images -> logits and returns a function of tensors.
        key: hashable settings that are constants of the graph.
    """
    name = (build, *key)
    with _lock:  # so that two threads get the same function
        functions = _functions.setdefault(model, {})
        if name not in functions:
            functions[name] = _function(weakref.ref(model), build, key)
        return functions[name]


def _function(reference: weakref.ref, build: Callable[..., Callable], key: tuple) -> Callable:
    @tf.function(reduce_retracing=True)
    def run(*tensors):
        # A weak reference, so that the cache does not keep its key, the model, alive.
        return build(freeze(reference()), *key)(*tensors)

    return run
