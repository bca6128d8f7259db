"""The examples and the threat model that the flags of an evaluation describe."""

import zipfile
from pathlib import Path

import numpy as np

from keras_aaa import data
from keras_aaa.threat_model import THREAT_MODELS, ThreatModel


def threat_of(
    dataset: str | None, norm: str | None, eps: float | None, own: ThreatModel | None = None
) -> ThreatModel:
    """Return the threat model; a missing norm or radius comes from the model or the data set.

    Args:
        dataset: its name, or None.
        norm: "linf", "l2" or None.
        eps: radius in image units, or None.
        own: the threat model of the model's card, or None.

    Raises:
        ValueError: if a value is missing without a default, or if the radius is out of range.
    """
    default = own or THREAT_MODELS.get(dataset)
    norm = norm or (default.norm if default else None)
    if eps is None and default and norm == default.norm:
        eps = default.eps
    if norm is None or eps is None:
        known = f"{', '.join(THREAT_MODELS)} and the zoo's models"
        examples = f"the data set {dataset!r}" if dataset else "examples of your own"
        raise ValueError(
            f"--norm, --eps: expected both; there are defaults for {known}, not for {examples}."
        )
    if eps == 0:
        raise ValueError("--eps: expected more than 0; --attack=clean measures without an attack.")
    return ThreatModel(norm, eps)


def of_data_set(name: str, data_dir: str | None, count: int):
    """Return the first `count` test images and labels of a data set as arrays; 0 takes all.

    Raises as data.load does.
    """
    total = data.image_spec(name, data_dir).examples["test"]
    images, labels = data.first(data.load(name, "test", data_dir), min(count or total, total))
    return images.numpy(), labels.numpy()


def of_npz(path: Path, count: int):
    """Return the first `count` entries of the arrays `images` and `labels` of a file; 0 takes all.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not an .npz file, or if it does not hold images and as many
            labels.
    """
    check_zip(path, "--npz", ".npz")
    with np.load(path) as stored:
        missing = {"images", "labels"} - set(stored)
        if missing:
            raise ValueError(f"--npz: expected arrays images and labels, missing {missing}.")
        images, labels = stored["images"], stored["labels"]
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            f"--npz: expected one image or more and as many labels, got {len(images)} images and "
            f"{len(labels)} labels."
        )
    return (images[:count], labels[:count]) if count else (images, labels)


def check_zip(path: Path, flag: str, kind: str) -> None:
    """Raise an error that names the flag unless the file is a zip file, as .npz and .keras are."""
    if not path.is_file():
        raise FileNotFoundError(f"{flag}: there is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{flag}: {path} is not a {kind} file, or it is incomplete.")
