"""The model zoo: SavedModels of robust autoencoders and of the classifiers they protect.

autoencoder = zoo.load("aaa_mnist_ce_mse")
zoo.info("aaa_mnist_ce_mse").robust_accuracy
"""

import dataclasses
from pathlib import Path

import keras

from keras_aaa.names import lookup
from zoo import artefact
from zoo.card import Card, Measurement, Model, check_name, check_version
from zoo.integrity import IntegrityError

ROOT = Path(__file__).parent / "models"

__all__ = [
    "ROOT",
    "Card",
    "IntegrityError",
    "Measurement",
    "Model",
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
    root: Path | str = ROOT,
) -> keras.Model:
    """Return a model of the zoo: an autoencoder or a classifier, float32, weights restored exactly.

    Args:
        name: as list_models() gives it.
        version: a whole number; the newest by default.
        trainable: whether the model's layers are to be trained further.
        root: another zoo's folder.

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> reconstruction of that shape
        (autoencoder) or logits [n, classes] (classifier).

    Raises:
        ValueError: for an unknown name (suggests the nearest) or version (lists the known).
        IntegrityError: if a file is not the one that was published.
    """
    return artefact.read(_folder(name, version, Path(root)), trainable=trainable)


def info(name: str, version: int | None = None, *, root: Path | str = ROOT) -> Card:
    """Return a model's card. Arguments and errors as load()'s."""
    return Card.read(_folder(name, version, Path(root)) / artefact.CARD)


def list_models(
    dataset: str | None = None,
    kind: str | None = None,
    threat: str | None = None,
    *,
    root: Path | str = ROOT,
) -> list[str]:
    """Return the names of the models, sorted, of one data set, kind or threat norm if given.

    Args:
        dataset: "mnist", ...
        kind: "autoencoder" or "classifier".
        threat: norm of the threat model, "linf" or "l2".
        root: another zoo's folder.
    """
    cards = [info(name, root=root) for name in _names(Path(root))]
    return [
        card.name
        for card in cards
        if dataset in (None, card.dataset)
        and kind in (None, card.kind)
        and (threat is None or (card.threat is not None and card.threat["norm"] == threat))
    ]


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
        card: what is known of it; `files` is filled in.
        root: the zoo's folder, made if it is not there.
        classifier: the source classifier, for an autoencoder.

    Returns:
        The card as written.

    Raises:
        ValueError: for a name, version or card that does not fit.
    """
    card = dataclasses.replace(card, name=check_name(name))
    return artefact.write(model, classifier, card, Path(root))


def _names(root: Path) -> list[str]:
    return sorted({card.parent.parent.name for card in root.glob("*/*/card.json")})


def _folder(name: str, version: int | None, root: Path) -> Path:
    folders = {known: root / known for known in _names(root)}
    folder = lookup("model", check_name(name), folders)
    known = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
    if version is None:
        return folder / str(known[-1])
    if check_version(version) not in known:
        raise ValueError(f"{name} has no version {version}. Known: {', '.join(map(str, known))}.")
    return folder / str(version)
