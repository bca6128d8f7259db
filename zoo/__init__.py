"""The model zoo: SavedModels of robust autoencoders and of the classifiers they protect.

autoencoder = zoo.load("aaa_mnist_ce_mse")
zoo.info("aaa_mnist_ce_mse").robust_accuracy
"""

from dataclasses import asdict, replace
from pathlib import Path

import keras

from keras_aaa.hashing import IntegrityError
from keras_aaa.results import Measurement
from zoo import artefact, versions
from zoo.card import Card, check_name
from zoo.fetch import FetchError
from zoo.index import describe

__all__ = [
    "Card",
    "FetchError",
    "IntegrityError",
    "Measurement",
    "info",
    "list_models",
    "load",
    "save",
]


def load(
    name: str,
    version: int | None = None,
    *,
    trainable: bool = False,
    root: Path | str | None = None,
) -> keras.Model:
    """Return a model of the zoo: an autoencoder or a classifier, float32, weights restored exactly.

    Args:
        name: a name from list_models().
        version: a whole number >= 1; the newest by default.
        trainable: whether the model's layers are trainable; False freezes them.
        root: a private zoo's folder instead of this package's zoo.

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> reconstruction of that shape
        (autoencoder) or logits [n, classes] (classifier).

    Raises:
        ValueError: for an unknown name (suggests the nearest) or version (lists the known).
        IntegrityError: if a file differs from the published one.
        FetchError: if the artefact is not on this machine and cannot be fetched.
    """
    model_version = versions.find(name, version, root)
    return artefact.read(
        model_version.folder(), trainable=trainable, card_sha256=model_version.card_sha256
    )


def info(name: str, version: int | None = None, *, root: Path | str | None = None) -> Card:
    """Return the card of a model. See load() for the arguments and the errors."""
    return versions.find(name, version, root).card()


def list_models(
    dataset: str | None = None,
    kind: str | None = None,
    threat: str | None = None,
    *,
    root: Path | str | None = None,
) -> list[str]:
    """Return the sorted names of the models, filtered by data set, kind and threat norm.

    Args:
        dataset: "mnist", ...
        kind: "autoencoder" or "classifier".
        threat: norm of the threat model, "linf" or "l2".
        root: a private zoo's folder instead of this package's zoo.
    """
    wanted = {"dataset": dataset, "kind": kind, "threat": threat}
    names = []
    for model_version in versions.newest(root):
        fields = (
            asdict(model_version.entry) if model_version.entry else describe(model_version.card())
        )
        if all(value in (None, fields[key]) for key, value in wanted.items()):
            names.append(model_version.name)
    return names


def save(
    model: keras.Model,
    name: str,
    card: Card,
    root: Path | str,
    *,
    classifier: keras.Model | None = None,
) -> Card:
    """Write a model as root/<name>/<version>/: a SavedModel with its card.

    Args:
        model: built by an architecture of keras_aaa.models.
        name: lower-case words joined by underscores; goes onto the card.
        card: the model's card; `files` is filled in.
        root: the zoo's folder; created if it does not exist.
        classifier: the source classifier, for an autoencoder.

    Returns:
        The card as written.

    Raises:
        ValueError: for an invalid name, an existing version, or a card that does not fit the model.
    """
    card = replace(card, name=check_name(name))
    return artefact.write(model, classifier, card, Path(root))
