"""Load data sets as float32 images in [0, 1] and int64 labels."""

import contextlib
import difflib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

EMBEDDED = Path(__file__).parent / "embedded"
SPLITS = ("train", "validation", "test")


class DataNotFoundError(FileNotFoundError):
    """Raised when a data set is not on this machine and cannot be downloaded."""


@dataclass(frozen=True)
class ImageSpec:
    """The image shape (h, w, c), the number of classes and the split sizes of a data set."""

    shape: tuple[int, int, int]
    classes: int
    examples: dict[str, int]


def load(name: str, split: str, data_dir: str | None = None) -> tf.data.Dataset:
    """Return one split of a TFDS image-classification set, unshuffled and unbatched.

    The validation split is the last tenth of TFDS's train split, but at most 5,000 examples. The
    "train" split is the rest. "mnist" is embedded in the package. Any other set is searched in
    `data_dir` and in TFDS_DATA_DIR; if it is in neither, TFDS downloads it.

    Args:
        name: a TFDS name ("mnist", "fashion_mnist", "cifar10", ...).
        split: "train", "validation" or "test".
        data_dir: folder that holds prepared TFDS sets, or None.

    Returns:
        tf.data.Dataset of (image float32 [h, w, c] in [0, 1], label int64 []).

    Raises:
        ValueError: for an unknown name or split, or a set that is not image classification with
            a fixed image size.
        DataNotFoundError: if data_dir is not a folder, or the set cannot be found or downloaded;
            the message says what was tried and what to do.
    """
    builder = _prepared_builder(name, data_dir)
    data = _in_order(builder, split, {"image": True, "label": True})

    def convert(example):
        return tf.cast(example["image"], tf.float32) / 255.0, tf.cast(example["label"], tf.int64)

    return data.map(convert, num_parallel_calls=tf.data.AUTOTUNE)


def encoded(name: str, split: str, data_dir: str | None = None) -> tuple[list[bytes], np.ndarray]:
    """Return the encoded images of a split, in the order of `load`, and their labels.

    Args:
        name, split, data_dir: as for `load`; the same errors are raised.

    Returns:
        A list of PNG or JPEG files, one per image, and labels int64 [n].
    """
    builder = _prepared_builder(name, data_dir)
    features = {"image": tfds.decode.SkipDecoding(), "label": True}
    examples = list(_in_order(builder, split, features).as_numpy_iterator())
    images = [example["image"] for example in examples]
    return images, np.array([example["label"] for example in examples], np.int64)


def _in_order(builder, split: str, features: dict) -> tf.data.Dataset:
    """Return a split, unshuffled. `features` maps each feature to its decoder, or to True."""
    _spec(builder)
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}. Known: {', '.join(SPLITS)}.")
    held_out = _validation_size(builder)
    tfds_split = {
        "train": f"train[:-{held_out}]",
        "validation": f"train[-{held_out}:]",
        "test": "test",
    }[split]
    decoders = {key: decoder for key, decoder in features.items() if decoder is not True}
    # One shard is read in order, so the order of the examples is the same on every machine.
    partial = tfds.decode.PartialDecoding(dict.fromkeys(features, True), decoders=decoders)
    with _without_deprecations():
        return builder.as_dataset(
            split=tfds_split,
            decoders=partial,
            shuffle_files=False,
            read_config=tfds.ReadConfig(try_autocache=False),
        )


@contextlib.contextmanager
def _without_deprecations():
    """Hide the warnings that tensorflow-datasets logs about its own deprecated attributes."""

    def is_ours(record) -> bool:
        return "FeatureConnector.dtype" not in record.getMessage()

    logger = logging.get_absl_logger()
    logger.addFilter(is_ours)
    try:
        yield
    finally:
        logger.removeFilter(is_ours)


def image_spec(name: str, data_dir: str | None = None) -> ImageSpec:
    """Return the shape, class count and split sizes of a set; raises the same errors as `load`."""
    return _spec(_prepared_builder(name, data_dir))


def _validation_size(builder) -> int:
    return min(5000, builder.info.splits["train"].num_examples // 10)


def _spec(builder) -> ImageSpec:
    features, splits = dict(builder.info.features.items()), builder.info.splits
    image, label = features.get("image"), features.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
        and None not in image.shape
    ):
        raise ValueError(
            f"Data set {builder.name!r} is not image classification with a fixed image size: "
            f"expected features image (fixed shape) and label, got {features}."
        )
    if missing := {"train", "test"} - set(splits):
        raise ValueError(f"Data set {builder.name!r} has no split {', '.join(sorted(missing))}.")
    held_out = _validation_size(builder)
    sizes = {
        "train": splits["train"].num_examples - held_out,
        "validation": held_out,
        "test": splits["test"].num_examples,
    }
    return ImageSpec(tuple(image.shape), label.num_classes, sizes)


def stored_as(name: str, data_dir: str | None = None) -> str:
    """Return "jpeg" or "png", the format of the first test image; raises the same errors as `load`.

    A copy of cifar10 in JPEG is not the original: accuracies on it differ a little.
    """
    builder = _prepared_builder(name, data_dir)
    with _without_deprecations():
        encoded = builder.as_dataset(split="test", decoders={"image": tfds.decode.SkipDecoding()})
    first = next(iter(encoded.take(1)))["image"].numpy()
    return "jpeg" if first.startswith(b"\xff\xd8") else "png"


def at_hand(name: str, data_dir: str | None = None) -> bool:
    """Return whether `load` finds the set on this machine without a download."""
    return _find(name, data_dir)[0].is_prepared()


def _find(name: str, data_dir: str | None):
    """Return the first prepared builder (or the last one tried) and the folders without the set.

    The embedded folder is not registered in TFDS: a user's own tfds.load would then find its sets
    in two places and refuse them.
    """
    if data_dir is not None:
        _check_folder("data_dir", data_dir)
    tried: list[str] = []
    environment = os.environ.get("TFDS_DATA_DIR")
    for folder, source in ((data_dir, "data_dir"), (environment, "TFDS_DATA_DIR")):
        if folder:
            builder = _builder(name, folder)
            if builder.is_prepared():
                return builder, tried
            tried.append(f"{source}={folder}: no prepared {name!r} there")
    embedded = (EMBEDDED / name.partition(":")[0]).is_dir()  # the name may hold a version
    return _builder(name, EMBEDDED if embedded else None), tried


def _prepared_builder(name: str, data_dir: str | None):
    builder, tried = _find(name, data_dir)
    if builder.is_prepared():
        return builder
    if data_dir is None and (folder := os.environ.get("TFDS_DATA_DIR")):
        _check_folder("TFDS_DATA_DIR", folder)  # otherwise TFDS would create it
    searched = "; ".join(tried) or "TFDS_DATA_DIR is not set"
    logging.warning("%s is not on this machine (%s): TFDS downloads it.", name, searched)
    try:
        builder = _builder(name, data_dir)
        builder.download_and_prepare()
    except (OSError, tfds.download.DownloadError) as error:
        tried.append(f"download by TFDS: {type(error).__name__}: {str(error)[:200]}")
        raise DataNotFoundError(
            f"Data set {name!r} could not be found. Tried: {'; '.join(tried)}. Ways out: "
            "(1) connect to the network and run again, so that TFDS downloads it; "
            f"(2) set TFDS_DATA_DIR to a folder that holds a prepared {name}/; "
            "(3) pass that folder as data_dir (--data_dir)."
        ) from error
    return builder


def _check_folder(source: str, folder: str) -> None:
    if not Path(folder).is_dir():
        raise DataNotFoundError(
            f"{source}: expected a folder of prepared TFDS sets, but there is no folder {folder}. "
            "Create it first if TFDS should download into it."
        )


def _builder(name: str, data_dir: Path | str | None):
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False), 3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"Unknown data set {name!r}.{hint} Known: mnist, fashion_mnist, cifar10, or any other "
            "image-classification set of tensorflow-datasets with a fixed image size."
        ) from error
