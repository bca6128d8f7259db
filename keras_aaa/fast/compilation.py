"""Compile the graph of an attack once for each model, attack and shape.

A traced graph holds the structure that the model had: its layers, activations, constants. If the
structure changes later, everything that was made of the old one is thrown away.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_aaa.fast.fast_copy import freeze
from keras_aaa.fast.fingerprint import fingerprint

_lock = threading.RLock()  # so that two threads get the same function


class _Entry:
    """Everything that was made of a model with this fingerprint."""

    def __init__(self, reference: Callable, made_of: tuple):
        self.reference, self.made_of = reference, made_of
        self.values: dict[tuple, Any] = {}


# By id, because some callables, such as dataclasses, have no hash.
_entries: dict[int, _Entry] = {}


def per_model(model: Callable, key: tuple, make: Callable[[Callable], Any]) -> Any:
    """Return make(reference), cached until the model is deleted or its structure changes.

    Args:
        model: keras.Model, FastCopy or another callable images -> logits.
        key: hashable; the name of the value.
        make: gets a function that returns the model, and must not hold the model itself: the cache
            would then keep it alive.
    """
    with _lock:
        entry = _entry_of(model)
        if key not in entry.values:
            entry.values[key] = make(entry.reference)
            _note_structure(model)
        return entry.values[key]


def compiled(model: Callable, build: Callable[..., Callable], *key) -> Callable:
    """Return the tf.function of `build(defence)`, cached by model, build and key.

    Args:
        model: keras.Model, FastCopy or another callable images -> logits.
        build: takes the frozen callable images -> logits and returns a function of tensors.
        key: hashable settings that are constants of the graph.
    """

    def make(reference):
        @tf.function(reduce_retracing=True)
        def run(*tensors):
            results = build(freeze(reference()), *key)(*tensors)
            _note_structure(reference())
            return results

        return run

    return per_model(model, (build, *key), make)


def _entry_of(model: Callable) -> _Entry:
    number, made_of = id(model), fingerprint(model)
    entry = _entries.get(number)
    if entry is None or entry.reference() is not model or entry.made_of != made_of:
        entry = _entries[number] = _Entry(_reference(model), made_of)
    return entry


@tf.autograph.experimental.do_not_convert
def _note_structure(model: Callable) -> None:
    """Take the present structure as the one that was traced.

    A callable may count its own calls. That alone must not let it be traced again.
    """
    if id(model) in _entries:
        _entries[id(model)].made_of = fingerprint(model)


def _reference(model: Callable) -> Callable:
    """Return a function that returns the model, without keeping it alive if possible."""
    number = id(model)

    def forget(reference):
        if number in _entries and _entries[number].reference is reference:
            del _entries[number]

    try:
        return weakref.ref(model, forget)
    except TypeError:  # built-in functions, and classes with slots, have no weak references
        return lambda: model
