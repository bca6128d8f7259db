"""Write, read and pack an artefact: a folder with a SavedModel and its card."""

import dataclasses
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import keras
import tensorflow as tf

from keras_aaa.hashing import folder_hashes
from keras_aaa.results import write_json
from keras_aaa.serving import export_classifier, export_defence
from zoo.card import CARD, Card, Measurement, verified_card


def write(model: keras.Model, classifier: keras.Model | None, card: Card, root: Path) -> Card:
    """Write root/<name>/<version>/ and return the card with the files' hashes.

    The write is atomic: the folder is complete or does not exist.

    Args:
        model: the model that load() will return; built by the card's architecture.
        classifier: for an autoencoder, its source classifier; None for a classifier.
        card: the artefact's card.
        root: the zoo's root folder.

    Raises:
        ValueError: if the version exists already, or if the card does not describe the models.
    """
    folder = root / card.name / str(card.version)
    if folder.exists():
        raise ValueError(
            f"{folder} exists; a published version is never changed. Use the next one."
        )
    if (card.classifier is None) != (classifier is None):
        raise ValueError("classifier: expected one if the card describes one, otherwise None.")
    for described, built in ((card.model, model), (card.classifier, classifier)):
        if described is not None and built is not None:
            expected = [tuple(v.shape) for v in described.build().weights]
            if expected != [tuple(v.shape) for v in built.weights]:
                raise ValueError(f"card: {described} does not describe the model {built.name!r}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    try:
        if classifier is None:
            export_classifier(model, temporary)
        else:
            export_defence(model, classifier, temporary)
        card = dataclasses.replace(card, files=folder_hashes(temporary))
        write_json(temporary / CARD, card.to_json())
        os.chmod(temporary, 0o755)
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    return card


def add_measurements(folder: Path, measured: Sequence[Measurement]) -> Card:
    """Add measurements to an artefact's card; they replace measurements of the same attack."""
    card = verified_card(folder)
    key = attrgetter("defended", "attack", "steps")
    new = {key(m): m for m in measured}
    unchanged = tuple(m for m in card.measured if key(m) not in new)
    card = dataclasses.replace(card, measured=(*unchanged, *measured))
    write_json(folder / CARD, card.to_json())
    return card


def read(
    folder: Path,
    *,
    trainable: bool = False,
    part: str = "model",
    card_sha256: str | None = None,
) -> keras.Model:
    """Rebuild a model from the card's architecture and restore its weights, in float32.

    No code from the artefact is executed: the architecture comes from keras_aaa.models, and the
    weights are read as arrays. First, the card is verified against the index, and every file
    against the card.

    Args:
        folder: the artefact.
        trainable: whether the model's layers are trainable; False freezes them.
        part: "model", or "classifier" for the source classifier inside an autoencoder's artefact.
        card_sha256: the index's hash of card.json, or None for a zoo without an index.

    Raises:
        ValueError: if a file is damaged, or the weights do not fit the architecture.
    """
    card = verified_card(folder, card_sha256)
    described = getattr(card, part)
    model = described.build()
    collection = "classifier" if part == "classifier" else card.kind
    try:
        stored = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        # set_weights casts float16 to float32, and rejects wrong shapes.
        model.set_weights(
            [
                stored.get_tensor(f"{collection}/{index}/.ATTRIBUTES/VARIABLE_VALUE")
                for index in range(len(model.weights))
            ]
        )
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(f"{folder}: the weights do not fit {described}: {error}") from error
    model.trainable = trainable
    return model


def pack(folder: Path, archive: Path) -> None:
    """Write every file below `folder` into a tar file; the same files always give the same bytes.

    They are sorted by path, without owners and times. The tar file is not compressed, because
    weights do not compress.
    """

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 0
        info.mode = 0o644
        return info

    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            tar.add(path, path.relative_to(folder).as_posix(), filter=plain)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar file into an existing folder; nothing is written outside it.

    Raises:
        ValueError: if it is not a tar file, or holds a link, a device or a path outside the folder.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            odd = [m.name for m in tar.getmembers() if not (m.isfile() or m.isdir())]
            if odd:
                raise ValueError(f"{archive.name}: expected plain files, found {odd[0]!r}.")
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive.name} cannot be unpacked: {error}.") from error
