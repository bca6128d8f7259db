"""Tell whether the structure of a model changed since its graph was traced."""

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.fast.fast_copy import FastCopy
from keras_aaa.fast.keras_graph import all_layers, own_attributes

LARGEST = 65_536  # elements; a larger array is told apart by its identity, not by its values


def fingerprint(model: Callable) -> tuple:
    """Return a tuple that differs if a graph traced from the model would differ.

    It covers layers, their settings, constants and variables, but not the values of variables,
    which a graph reads anew. Of another callable it covers attributes, and the global and
    enclosing variables that a function reads.

    A FastCopy is always the same: it was cloned once, and does not change.
    """
    return (id(model),) if isinstance(model, FastCopy) else _of(model, set())


def _of(part, seen: set[int]) -> tuple:
    if id(part) in seen:
        return (id(part),)
    seen.add(id(part))
    if isinstance(part, keras.Layer):
        return tuple(_layer(layer, seen) for layer in all_layers(part))
    if isinstance(part, functools.partial):
        return _values({"function": part.func, "arguments": part.args, **part.keywords}, seen)
    if inspect.ismethod(part):
        return _of(part.__self__, seen) + _of(part.__func__, seen)
    if inspect.isfunction(part):
        return _function(part, seen)
    if hasattr(part, "python_function"):  # a tf.function
        return _of(part.python_function, seen)
    return (id(part), _values(getattr(part, "__dict__", {}), seen))


def _layer(layer: keras.Layer, seen: set[int]) -> tuple:
    policy = getattr(layer.dtype_policy, "name", None)
    return (id(layer), policy, tuple(map(id, layer.variables)),
            _content(own_attributes(layer), seen))  # fmt: skip


def _function(function, seen: set[int]) -> tuple:
    read = inspect.getclosurevars(function)
    return (id(function), _values({**read.globals, **read.nonlocals}, seen))


def _values(variables: Mapping, seen: set[int]) -> tuple:
    """Return the contents of variables, but of lists and dictionaries only their identities.

    A callable may log its calls in them. It would otherwise be traced again for each batch.
    """
    return tuple(
        (name, id(value) if isinstance(value, list | dict | set) else _content(value, seen))
        for name, value in variables.items()
    )


def _content(value, seen: set[int]):
    if value is None or isinstance(value, str | bytes | numbers.Number):
        return repr(value)  # NaN equals itself
    if isinstance(value, Mapping):
        return tuple((str(key), _content(item, seen)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_content(item, seen) for item in value)
    if isinstance(value, np.ndarray) or (tf.is_tensor(value) and hasattr(value, "numpy")):
        return _array(value)
    if isinstance(value, keras.Layer) or _is_users(value):
        return _of(value, seen)
    return id(value)


def _array(value) -> tuple:
    if isinstance(value, tf.Variable | keras.Variable) or np.prod(value.shape, dtype=int) > LARGEST:
        return (id(value),)
    array = np.asarray(value)
    return (array.dtype.str, array.shape, array.tobytes())


def _is_users(value) -> bool:
    """Return whether this is a callable that no library owns; a library's do not change."""
    owner = value if inspect.isfunction(value) or inspect.ismethod(value) else type(value)
    libraries = ("tensorflow", "keras", "numpy", "keras_aaa", "builtins")
    return (
        callable(value)
        and not isinstance(value, type)
        and not _belongs(owner.__module__, libraries)
    )


def _belongs(module: str | None, packages: Iterable[str]) -> bool:
    return any(module == name or (module or "").startswith(f"{name}.") for name in packages)
