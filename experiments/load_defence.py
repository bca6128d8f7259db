"""Load a model to evaluate: from the zoo, a file of Keras or a SavedModel, defended or not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import zoo
from keras_aaa.evaluation.score import logits_in_batches
from keras_aaa.hashing import file_hash, weights_hash
from keras_aaa.inputs import check_batch
from keras_aaa.models import as_logits, defend
from keras_aaa.models.files import SUFFIXES, read_model
from keras_aaa.models.probabilities import are_probabilities, of_probabilities
from keras_aaa.threat_model import ThreatModel
from zoo import artefact, versions

PROBED = 50  # number of images that tell probabilities from logits


@dataclass(frozen=True)
class NamedDefence:
    """A callable from images to logits, with its name, identity and parts.

    Args:
        name: the classifier's name, as cards write it.
        title: the title of the whole defence in tables.
        model: images -> logits: a keras.Model, or a callable for a SavedModel.
        identity: hashes of everything that the logits depend on: the weights of a zoo model, the
            files of any other model.
        dataset, threat: from the zoo's card, or None.
        classifier, autoencoder: the parts, or None.
        takes: the input's shape [n, h, w, c] of a SavedModel, or None.
    """

    name: str
    title: str
    model: Callable
    identity: str
    dataset: str | None = None
    threat: ThreatModel | None = None
    classifier: keras.Model | None = None
    autoencoder: keras.Model | None = None
    takes: tf.TensorShape | None = None


def load_defence(model: str, autoencoder: str | None) -> NamedDefence:
    """Return the defence that --model and --defend describe.

    Raises:
        ValueError: if the model is not one of the three kinds, or if the parts do not fit.
    """
    path = Path(model)
    if path.is_dir() and (path / "saved_model.pb").exists():
        if autoencoder:
            raise ValueError(
                "--defend: expected --model to be a zoo name, a .keras or an .h5 file."
            )
        return _saved_model(path)
    content = ""
    if path.suffix in SUFFIXES:
        classifier, name, card, inner = _read(path, "--model"), path.stem, None, None
        content = file_hash(path)  # the weights' hash does not cover the architecture
        _check_classifier(classifier, model)
    elif _is_path(model):
        raise ValueError(
            "--model: expected a zoo name, a .keras or .h5 file, or the folder of a SavedModel; "
            f"{model} is not {'a SavedModel' if path.is_dir() else 'one of them'}."
        )
    else:
        card = zoo.info(model)
        version = versions.find(model)
        inner = zoo.load(model) if card.classifier else None
        part = "classifier" if card.classifier else "model"
        classifier = artefact.read(version.folder(), part=part, card_sha256=version.card_sha256)
        name = (card.classifier or card.model).name
    if autoencoder and inner is not None:
        raise ValueError(f"--defend: {model} has an autoencoder already; leave --defend out.")
    if autoencoder:
        inner, before, file = _autoencoder(autoencoder)
        card, content = card or before, content + file
    classifier = as_logits(classifier)
    whole = defend(inner, classifier) if inner is not None else classifier
    title = f"{autoencoder or model} before {name}" if inner is not None else name
    dataset = card.dataset if card else None
    threat = ThreatModel(**card.threat) if card and card.threat else None
    identity = weights_hash(whole) + content
    return NamedDefence(name, title, whole, identity, dataset, threat, classifier, inner)


def _read(path: Path, flag: str) -> keras.Model:
    try:
        return read_model(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{flag}: {error}") from error


def _is_path(given: str) -> bool:
    """Return whether the argument is a path, which a zoo name cannot be."""
    return "/" in given or "." in given


def _autoencoder(given: str) -> tuple[keras.Model, zoo.Card | None, str]:
    """Return the model of --defend, its card (zoo) or None, and its file's sha256 (or "")."""
    path = Path(given)
    if path.suffix in SUFFIXES:
        return _read(path, "--defend"), None, file_hash(path)
    if _is_path(given):
        raise ValueError(f"--defend: expected a zoo name, a .keras or .h5 file, got {given}.")
    card = zoo.info(given)
    if card.kind != "autoencoder":
        raise ValueError(f"--defend: expected an autoencoder, {given} is a {card.kind}.")
    return zoo.load(given), card, ""


def with_logits(defence: NamedDefence, images) -> NamedDefence:
    """Return the defence; if it returns probabilities, their logarithms replace them.

    Raises:
        TypeError, ValueError: if the defence does not take the images.
    """
    if defence.takes is not None and not defence.takes.is_compatible_with(np.shape(images)):
        takes, got = tuple(defence.takes[1:]), np.shape(images)[1:]
        raise ValueError(f"--model: {defence.title} takes images {takes}, got {got}.")
    images = check_batch(images, np.zeros(len(images), np.int64), defence.model)[0]
    if not are_probabilities(logits_in_batches(defence.model, images[:PROBED])):
        return defence
    print(f"{defence.title} returns probabilities; the attacks use their logarithms as logits.")
    return replace(defence, model=of_probabilities(defence.model))


def _check_classifier(model: keras.Model, path: str) -> None:
    shapes = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if [len(shape) if isinstance(shape, tuple) else None for shape in shapes] != [4, 2]:
        raise ValueError(
            f"--model: expected images (n, h, w, c) -> logits (n, classes), {path} takes "
            f"{shapes[0]} and returns {shapes[1]}."
        )


def _saved_model(path: Path) -> NamedDefence:
    loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        found = sorted(loaded.signatures)
        raise ValueError(f"{path}: expected a signature named serving_default, found {found}.")
    signature = loaded.signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ValueError(f"{path}: expected one input, the images; found {sorted(inputs)}.")
    ((argument, images),) = inputs.items()
    _check_spec(path, f"an input {argument}", images, "(n, h, w, c)")
    outputs = signature.structured_outputs
    key = "logits" if "logits" in outputs else next(iter(outputs))
    if "logits" not in outputs and len(outputs) > 1:
        raise ValueError(f"{path}: expected an output named logits, found {sorted(outputs)}.")
    _check_spec(path, f"an output {key}", outputs[key], "(n, classes)")

    def logits(images):
        # This closure keeps `loaded` alive, which owns the variables.
        return loaded.signatures["serving_default"](**{argument: images})[key]

    files = [path / "saved_model.pb", *sorted((path / "variables").glob("*"))]
    name = path.parent.name if path.name.isdigit() else path.name  # <name>/<version>
    identity = "".join(map(file_hash, files))
    return NamedDefence(name, str(path), logits, identity, takes=images.shape)


def _check_spec(path: Path, role: str, spec: tf.TensorSpec, axes: str) -> None:
    """Raise ValueError unless a SavedModel's input or output is float32, for any number n."""
    found = f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank is not None else spec.shape}"
    rank = axes.count(",") + 1
    fault = ""
    if spec.dtype != tf.float32:
        fault = f"of {spec.dtype.name}"
    elif spec.shape.rank not in (None, rank):
        fault = f"with {spec.shape.rank} axes"
    elif spec.shape.rank and spec.shape[0] is not None:
        fault = f"for {spec.shape[0]} images at a time"
    elif rank == 4 and spec.shape.rank and spec.shape[1] in (1, 3) and spec.shape[3] not in (1, 3):
        fault = "with the channels first"
    if fault:
        raise ValueError(
            f"{path}: expected {role} float32 {axes} with any n, got one {fault}, {found}; export "
            "the model again behind a function that converts it."
        )
