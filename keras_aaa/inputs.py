"""Check images and labels that a caller gives: they fit the model, or an error says what to do."""

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.threat_model import ThreatModel

PIXELS = "expected floating point in [0, 1]; divide 8-bit pixels by 255"
PAIR = "expected a tf.data.Dataset of (image, label), as keras_aaa.data.load gives it"


def check_batch(images, labels, model, *threat) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images as float32 and labels as int64 tensors, after checking that they fit the model.

    Args:
        images, labels, model: as attacks take them.
        threat: the threat model of the attack, if there is one.

    Raises:
        TypeError: if the model is not callable, the images are not floating point, the labels not
            whole numbers, or the threat is not a ThreatModel.
        ValueError: if images are not [n, h, w, c], not finite or outside [0, 1], or the labels
            are not [n] or name a class that the model (a keras.Model) does not have.
    """
    if any(not isinstance(given, ThreatModel) for given in threat):
        raise TypeError(f"threat: expected a ThreatModel, got {threat[0]!r}; keras_aaa.threat_for "
                        "gives a data set's.")  # fmt: skip
    if not callable(model):
        raise TypeError(
            f"model: expected a keras.Model or a callable images -> logits, got {model!r}; "
            "zoo.load(name) and keras.models.load_model(path) load one."
        )
    for name, value in (("images", images), ("labels", labels)):
        if isinstance(value, tf.data.Dataset):
            raise TypeError(
                f"{name}: expected an array, got a tf.data.Dataset; keras_aaa.data.first(dataset, "
                "n) makes arrays of images and labels."
            )
        if tf.is_tensor(value) and not hasattr(value, "numpy"):
            raise TypeError(
                f"{name}: expected values, got a symbolic tensor; call attacks outside of "
                "tf.function, train_step and strategy.run. keras_aaa.training.train trains "
                "adversarially."
            )
    images, labels = (a if tf.is_tensor(a) else np.asarray(a) for a in (images, labels))
    if not tf.as_dtype(images.dtype).is_floating:
        raise TypeError(f"images: {PIXELS}, got {images.dtype}.")
    if not tf.as_dtype(labels.dtype).is_integer:
        raise TypeError(f"labels: expected whole numbers, class indices, got {labels.dtype}.")
    if len(images.shape) != 4:
        raise ValueError(f"images: expected shape (n, h, w, c), got {tuple(images.shape)}.")
    if tuple(labels.shape) != tuple(images.shape[:1]):
        raise ValueError(
            f"labels: expected shape ({images.shape[0]},), one per image; got "
            f"{tuple(labels.shape)}."
        )
    values = np.asarray(images)
    # The comparison is false for NaN, so NaN is refused too.
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"images: expected finite values in [0, 1], got {values.min()} to {values.max()}."
        )
    keras_model = model if isinstance(model, keras.Model) else getattr(model, "model", None)
    expected = getattr(keras_model, "input_shape", None)  # a subclassed model has none
    if keras_model is not None and isinstance(expected, tuple) and len(expected) == 4:
        if expected[0] not in (None, images.shape[0]):
            raise ValueError(
                f"images: {keras_model.name} takes batches of {expected[0]} images, got "
                f"{images.shape[0]}."
            )
        fits = zip(expected[1:], images.shape[1:], strict=True)
        if any(wanted not in (None, found) for wanted, found in fits):
            raise ValueError(
                f"images: {keras_model.name} takes {expected[1:]}, got {tuple(images.shape[1:])}."
            )
    outputs = getattr(keras_model, "output_shape", None)
    if isinstance(outputs, tuple) and outputs[-1] != 1:  # check_answers refuses one output
        check_labels(labels, outputs[-1])
    return tf.cast(images, tf.float32), tf.cast(labels, tf.int64)


def check_labels(labels, classes: int) -> None:
    """Raise ValueError if labels [n] are not all between 0 and classes - 1."""
    if not len(labels):
        return
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= classes:
        raise ValueError(f"labels: expected 0 to {classes - 1}, got {low} to {high}.")


def check_targets(targets, labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Return the target classes of an attack as an int64 tensor [n].

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if they are not one class per image, other than its label.
    """
    targets = targets if tf.is_tensor(targets) else np.asarray(targets)
    if not tf.as_dtype(targets.dtype).is_integer:
        raise TypeError(f"targets: expected whole numbers, class indices, got {targets.dtype}.")
    if targets.shape != labels.shape:
        raise ValueError(
            f"targets: expected shape {tuple(labels.shape)}, one per image; got "
            f"{tuple(targets.shape)}."
        )
    low, high = int(np.min(targets)), int(np.max(targets))
    if low < 0 or high >= classes:
        raise ValueError(f"targets: expected 0 to {classes - 1}, got {low} to {high}.")
    targets = tf.cast(targets, tf.int64)
    same = np.flatnonzero(targets == labels)
    if len(same):
        raise ValueError(
            f"targets: expected other classes than the labels; {len(same)} are equal, the first "
            f"at index {same[0]}."
        )
    return targets


def training_examples(
    data: tf.data.Dataset, model: keras.Model, examples: int = 0
) -> tuple[tf.data.Dataset, int]:
    """Return a cached data set of float32 images and int64 labels, and the number of examples.

    Args:
        data: unbatched examples (image, label).
        model: images -> logits; the examples must fit it.
        examples: take only this many, the first ones; 0 takes all.

    Raises:
        TypeError: if `data` is not a tf.data.Dataset of pairs, or its images are not floating
            point, or its labels are not whole numbers.
        ValueError: if it is batched, or an image does not have the model's shape, or pixels are
            not finite in [0, 1], or a label names a class that the model does not have.
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
    of_model = getattr(model, "input_shape", None)  # a subclassed model has none
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
    """Return images float32 [n, h, w, c] and labels int64 [n]; raises as check_batch() does."""
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(
            "validation_data: expected a pair (images, labels), got a "
            f"{type(data).__name__}; keras_aaa.data.first(dataset, n) makes one of a Dataset."
        )
    return check_batch(*data, model)


def _extent(data: tf.data.Dataset) -> tuple[int, bool, float, float, tuple[int, int]]:
    """Return size, whether pixels are in [0, 1], their extremes, and the extreme labels."""

    def widen(state, example):
        size, inside, low, high, first, last = state
        image, label = example
        return (
            size + 1,
            # False for NaN; tf.reduce_min may skip it.
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
