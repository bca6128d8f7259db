"""Compile an attack's graph once for each (model, attack, shape)."""

import threading
import weakref
from collections.abc import Callable

import tensorflow as tf

from keras_aaa.fast.fast_copy import freeze

_functions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def compiled(model, build: Callable[..., Callable], *key) -> Callable:
    """Return the tf.function of `build(defence)`, made at the first call for (model, build, key).

    Args:
        model: keras.Model, FastCopy, or another callable images -> logits.
        build: takes the callable images -> logits, frozen, and returns nothing but graph code.
        key: hashable settings that change the graph (not its tensor arguments).
    """
    name = (build, *key)
    with _lock:  # two threads that ask at once get the same function
        functions = _functions.setdefault(model, {})
        if name not in functions:
            functions[name] = _function(weakref.ref(model), build, key)
        return functions[name]


def _function(reference: weakref.ref, build: Callable[..., Callable], key: tuple) -> Callable:
    @tf.function(reduce_retracing=True)
    def run(*tensors):
        # A weak reference: the cache must not keep the model that is its key alive.
        return build(freeze(reference()), *key)(*tensors)

    return run
