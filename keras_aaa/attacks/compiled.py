"""Compile an attack's graph once for each (model, attack, shape)."""

import threading
import warnings
import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.models.fast_copy import freeze
from keras_aaa.models.softmax import ends_in_softmax
from keras_aaa.threat_model import ThreatModel

PIXELS = "expected floating point in [0, 1]; divide 8-bit pixels by 255"

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


def check_batch(images, labels, model, *threat) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images as float32 and labels as int64 tensors, fit for the model.

    Args:
        images, labels, model: as attacks take them.
        threat: the attack's threat model, where there is one.

    Raises:
        TypeError: if the images are not floating point or the labels not whole numbers, or the
            threat is no ThreatModel.
        ValueError: if images are not [n, h, w, c], not finite or outside [0, 1], or the labels
            are not [n] or name a class that the model (if it is a keras.Model) has not.
    """
    if any(not isinstance(given, ThreatModel) for given in threat):
        raise TypeError(f"threat: expected a ThreatModel, got {threat[0]!r}; keras_aaa.threat_for "
                        "gives a data set's.")  # fmt: skip
    images, labels = (a if tf.is_tensor(a) else np.asarray(a) for a in (images, labels))
    if not tf.as_dtype(images.dtype).is_floating:
        raise TypeError(f"images: {PIXELS}, got {images.dtype}.")
    if not tf.as_dtype(labels.dtype).is_integer:
        raise TypeError(f"labels: expected whole numbers, class indices, got {labels.dtype}.")
    if len(images.shape) != 4:
        raise ValueError(f"images: expected shape (n, h, w, c), got {tuple(images.shape)}.")
    if tuple(labels.shape) != tuple(images.shape[:1]):
        raise ValueError(
            f"labels: expected shape ({images.shape[0]},), one an image, got {tuple(labels.shape)}."
        )
    values = np.asarray(images)
    # The comparison is false for NaN, so that NaN is refused here too.
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"images: expected finite values in [0, 1], got {values.min()} to {values.max()}."
        )
    keras_model = model if isinstance(model, keras.Model) else getattr(model, "model", None)
    expected = getattr(keras_model, "input_shape", None)  # a subclassed model does not tell
    if keras_model is not None and isinstance(expected, tuple) and len(expected) == 4:
        fits = zip(expected[1:], images.shape[1:], strict=True)
        if any(wanted not in (None, found) for wanted, found in fits):
            raise ValueError(
                f"images: {keras_model.name} takes {expected[1:]}, got {tuple(images.shape[1:])}."
            )
    outputs = getattr(keras_model, "output_shape", None)
    if isinstance(outputs, tuple):
        check_labels(labels, outputs[-1])
    if keras_model is not None and ends_in_softmax(keras_model):
        warnings.warn(
            f"Model {keras_model.name!r} ends in softmax, which hides the gradient from attacks: "
            "give them keras_aaa.models.as_logits(model).",
            stacklevel=3,
        )
    return tf.cast(images, tf.float32), tf.cast(labels, tf.int64)


def check_labels(labels, classes: int) -> None:
    """Raise ValueError if labels, [n], name a class that is none of 0 to classes - 1."""
    if not len(labels):
        return
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= classes:
        raise ValueError(f"labels: expected 0 to {classes - 1}, got {low} to {high}.")
