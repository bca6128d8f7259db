"""Check once what a model answers: logits [n, classes], finite, of two classes or more."""

import warnings
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import per_model
from keras_aaa.fast.fast_copy import FastCopy
from keras_aaa.models.probabilities import are_probabilities

PROBED = 8  # images

PROBABILITIES = (
    "The outputs are probabilities, not logits, and hide the gradient from attacks. Give them the "
    "logits: keras_aaa.models.as_logits(model) removes a softmax, "
    "keras_aaa.models.of_probabilities(model) takes logarithms."
)


class Doubt(UserWarning):
    """A measured robust accuracy may be too high."""


def check_answers(model: Defence, images) -> int:
    """Return the number of classes of a model that answers images with logits.

    If it answers with probabilities, a warning says this.

    The model is asked about the first PROBED images, once for each size of images, and again
    after its structure changed.

    Args:
        model: keras.Model or callable, images -> logits.
        images: float32 [n, h, w, c] in [0, 1], n >= 1.

    Raises:
        TypeError: if the answer is not one floating-point tensor.
        ValueError: if it is not [n, classes] with two classes or more, or is not finite.
    """
    if isinstance(model, FastCopy):  # its model was checked
        return model.model.output_shape[-1]
    images = tf.convert_to_tensor(images[:PROBED])

    def ask(reference):
        model = reference()
        logits = _logits(model, images)
        if are_probabilities(logits):
            warnings.warn(PROBABILITIES, Doubt, stacklevel=4)
        return logits.shape[1]

    return per_model(model, (check_answers, tuple(images.shape[1:])), ask)


def _logits(model: Defence, images: tf.Tensor) -> np.ndarray:
    answer = model(images, training=False) if isinstance(model, keras.Model) else model(images)
    if isinstance(answer, Mapping):
        raise TypeError(
            f"model: expected one output, the logits, got {', '.join(map(repr, answer))}; name "
            f"one of them: lambda images: model(images)[{next(iter(answer))!r}]."
        )
    if isinstance(answer, list | tuple):
        raise TypeError(
            f"model: expected one output, the logits, got {len(answer)}; choose one: lambda "
            "images: model(images)[0]."
        )
    if not tf.is_tensor(answer):
        raise TypeError(
            f"model: expected a TensorFlow tensor of logits, got {type(answer).__name__}; attacks "
            "run in TensorFlow graphs and need its operations."
        )
    if not answer.dtype.is_floating:
        raise TypeError(f"model: expected floating-point logits, got {answer.dtype.name}.")
    shape = tuple(answer.shape)
    if len(shape) != 2 or shape[0] != len(images):
        raise ValueError(
            f"model: expected logits of shape (n, classes), here ({len(images)}, classes), got "
            f"{shape}."
        )
    if shape[1] < 2:
        raise ValueError(
            f"model: expected two classes or more, got {shape}. keras_aaa.models.two_classes(model)"
            " makes logits of two classes from a binary classifier's single output."
        )
    logits = np.asarray(tf.cast(answer, tf.float32))
    if not np.isfinite(logits).all():
        broken = int((~np.isfinite(logits)).any(axis=1).sum())
        raise ValueError(
            f"model: expected finite logits, got NaN or infinity for {broken} of the first "
            f"{len(images)} images; check its weights and its preprocessing."
        )
    return logits
