"""Which images a defence classifies correctly."""

import warnings
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_aaa.answers import check_answers
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.inputs import check_batch, check_labels

BATCH = 250


def correct(defence: Defence, images, labels) -> np.ndarray:
    """Return a mask, bool [n]: True where the defence classifies an image as its label.

    Args:
        defence: keras.Model or callable: images -> logits, computing in float32.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].

    Raises:
        TypeError, ValueError: for images, labels or a defence that are not as above, and for
            logits that are NaN.
    """
    mask, broken = _scored(defence, images, labels)
    if broken.any():
        raise ValueError(
            f"model: expected finite logits, got NaN for {broken.sum()} of {len(broken)} images, "
            f"the first one at index {broken.argmax()}."
        )
    return mask


def resists(defence: Defence, x_adv, labels) -> np.ndarray:
    """Return a mask, bool [n]: True where the defence classifies an adversarial image correctly.

    Logits that are NaN count as misclassified, with a warning: the attack has broken the defence.

    Args, errors: as for `correct`.
    """
    mask, broken = _scored(defence, x_adv, labels)
    if broken.any():
        warnings.warn(
            f"The logits of {broken.sum()} of {len(broken)} adversarial images are NaN; these "
            "images count as misclassified.",
            stacklevel=2,
        )
    return mask


def _scored(defence: Defence, images, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of correct images and of images whose logits are NaN."""
    images, labels = check_batch(images, labels, defence)
    if not len(labels):
        return np.zeros(0, bool), np.zeros(0, bool)
    # A callable has no output shape to check earlier.
    check_labels(labels, check_answers(defence, images))
    logits = logits_in_batches(defence, images)
    broken = np.isnan(logits).any(axis=1)
    return (np.argmax(logits, axis=-1) == labels.numpy()) & ~broken, broken


def logits_in_batches(defence: Defence, images) -> np.ndarray:
    """Return the logits of a defence, float32 [n, classes], for images [n, h, w, c]; n >= 1."""
    run = compiled(defence, _logits_graph)
    parts = [run(tf.gather(images, batch))[:count] for batch, count in batches(len(images), BATCH)]
    return np.concatenate(parts)


def batches(examples: int, batch: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the indices of each batch and its number of examples; the last repeats examples."""
    for begin in range(0, examples, batch):
        count = min(batch, examples - begin)
        size = count if examples < batch else batch
        yield begin + np.arange(size) % count, count


def _logits_graph(logits):
    return logits
