"""Examples to train and to validate on: fit for the task, or an error that says what to do."""

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.attacks.compiled import PIXELS, check_batch, check_labels

PAIR = "expected a tf.data.Dataset of (image, label), as keras_aaa.data.load gives it"


def training_examples(
    data: tf.data.Dataset, model: keras.Model, examples: int = 0
) -> tuple[tf.data.Dataset, int]:
    """Return examples, cached, as float32 images and int64 labels, and their number.

    Args:
        data: unbatched examples (image, label).
        model: images -> logits, which the examples have to fit.
        examples: how many, the first; 0 takes all.

    Raises:
        TypeError: if `data` is no tf.data.Dataset of pairs, its images are not floating point or
            its labels not whole numbers.
        ValueError: if it is batched, an image has not the model's shape or is not finite in
            [0, 1], or a label names a class that the model has not.
    """
    if not isinstance(data, tf.data.Dataset):
        arrays = "; tf.data.Dataset.from_tensor_slices((images, labels)) makes one of arrays"
        raise TypeError(f"train_data: {PAIR}, got a {type(data).__name__}{arrays}.")
    spec = data.element_spec
    if not (isinstance(spec, tuple) and len(spec) == 2):
        raise TypeError(f"train_data: {PAIR}; its elements are {spec}.")
    image, label = spec
    if not image.dtype.is_floating:
        raise TypeError(f"train_data: images: {PIXELS}, got {image.dtype.name}.")
    if not label.dtype.is_integer:
        raise TypeError(f"train_data: labels: expected class indices, got {label.dtype.name}.")
    of_model = getattr(model, "input_shape", None)  # a subclassed model does not tell
    wanted = tf.TensorShape(of_model[1:] if isinstance(of_model, tuple) else [None, None, None])
    if not (image.shape.is_compatible_with(wanted) and label.shape.is_compatible_with([])):
        raise ValueError(
            f"train_data: expected single examples, images {wanted} for {model.name} and labels "
            f"(), got {image.shape} and {label.shape}; Dataset.unbatch() takes batches apart, "
            "tf.argmax makes indices of one-hot labels."
        )
    if (image.dtype, label.dtype) != (tf.float32, tf.int64):
        data = data.map(lambda x, y: (tf.cast(x, tf.float32), tf.cast(y, tf.int64)))
    data = (data.take(examples) if examples else data).cache()
    size, inside, low, high, labels = _extent(data)
    if not inside:
        raise ValueError(f"train_data: images: {PIXELS}, got {low} to {high}, or NaN.")
    outputs = getattr(model, "output_shape", None)
    if size and isinstance(outputs, tuple):
        check_labels(np.array(labels), outputs[-1])
    return data, size


def validation_examples(data, model: keras.Model) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images float32 [n, h, w, c] and labels int64 [n]; raises as attacks do of theirs."""
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(
            "validation_data: expected a pair (images, labels), got a "
            f"{type(data).__name__}; keras_aaa.data.first(dataset, n) makes one of a Dataset."
        )
    return check_batch(*data, model)


def _extent(data: tf.data.Dataset) -> tuple[int, bool, float, float, tuple[int, int]]:
    """The examples' number, whether all pixels are in [0, 1], and the extremes of both."""

    def widen(state, example):
        size, inside, low, high, first, last = state
        image, label = example
        return (
            size + 1,
            # False for NaN, which a minimum may pass over.
            inside & tf.reduce_all((image >= 0) & (image <= 1)),
            tf.minimum(low, tf.reduce_min(image)),
            tf.maximum(high, tf.reduce_max(image)),
            tf.minimum(first, label),
            tf.maximum(last, label),
        )

    far, label = np.float32(np.inf), tf.int64
    begin = (np.int64(0), True, far, -far, label.max, label.min)
    size, inside, low, high, first, last = data.reduce(begin, widen)
    return int(size), bool(inside), float(low), float(high), (int(first), int(last))
