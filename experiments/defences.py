"""A model to be evaluated: of the zoo, a .keras file or a SavedModel, with or without a defence."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

import zoo
from keras_aaa.models import defend
from keras_aaa.models.fingerprint import fingerprint
from keras_aaa.models.softmax import as_logits
from zoo import artefact, store
from zoo.integrity import sha256


@dataclass(frozen=True)
class Defence:
    """A callable from images to logits, and what it is made of.

    Args:
        name: of the classifier inside, as cards write it.
        title: of the whole, for people.
        model: images -> logits: a keras.Model, or a callable for a SavedModel.
        identity: a hash of the weights.
        dataset: that of the zoo's card, or None.
        classifier, autoencoder: the parts, where they are known.
    """

    name: str
    title: str
    model: Callable
    identity: str
    dataset: str | None = None
    classifier: keras.Model | None = None
    autoencoder: keras.Model | None = None


def load_defence(model: str, autoencoder: str | None) -> Defence:
    """Return what --model and --defend describe.

    Raises:
        ValueError: for a model that is none of the three kinds, or parts that do not fit.
    """
    path = Path(model)
    if path.is_dir() and (path / "saved_model.pb").exists():
        if autoencoder:
            raise ValueError("--defend: expected a zoo name or a .keras file as --model with it.")
        return _saved_model(path)
    if path.suffix == ".keras":
        classifier, name, dataset, inner = keras.models.load_model(path), path.stem, None, None
    else:
        card = zoo.info(model)
        found, dataset = store.find(model), card.dataset
        inner = zoo.load(model) if card.classifier else None
        part = "classifier" if card.classifier else "model"
        classifier = artefact.read(found.folder(), part=part, card_sha256=found.card_sha256)
        name = (card.classifier or card.model).name
    if autoencoder and inner is not None:
        raise ValueError(f"--defend: {model} is itself an autoencoder before a classifier.")
    if autoencoder:
        inner = zoo.load(autoencoder)
        dataset = dataset or zoo.info(autoencoder).dataset
    classifier = as_logits(classifier)
    whole = defend(inner, classifier) if inner is not None else classifier
    title = f"{autoencoder or model} before {name}" if inner is not None else name
    return Defence(name, title, whole, fingerprint(whole), dataset, classifier, inner)


def _saved_model(path: Path) -> Defence:
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    key = "logits" if "logits" in outputs else next(iter(outputs))
    if "logits" not in outputs and len(outputs) > 1:
        raise ValueError(f"{path}: expected an output named logits, found {sorted(outputs)}.")

    def logits(images):
        # `loaded` is kept alive by this closure: it owns the variables.
        return loaded.signatures["serving_default"](**{name: images})[key]

    return Defence(path.name, path.name, logits, sha256(path / "saved_model.pb"))
