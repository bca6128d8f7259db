"""Read models from the files of Keras: .keras, and .h5 of Keras 2 and 3."""

import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras

H5 = (".h5", ".hdf5")
SUFFIXES = (".keras", *H5)

# Settings that Keras 2 writes and Keras 3 refuses, with the values under which they do nothing.
_WITHOUT_EFFECT: dict[str, tuple] = {
    "groups": (1,),
    "noise_shape": (None,),
    "rng_type": ("stateful", "stateless", "legacy_stateful"),
    "time_major": (False,),
    "trainable": (True, False),  # of a layer without weights
}
_REFUSED = {
    "Conv2DTranspose": ("groups",),
    "DepthwiseConv2D": ("groups",),
    "GRU": ("time_major",),
    "LSTM": ("time_major",),
    "RandomContrast": ("rng_type",),
    "RandomFlip": ("rng_type",),
    "RandomRotation": ("rng_type",),
    "RandomTranslation": ("rng_type",),
    "RandomZoom": ("rng_type",),
    "SeparableConv2D": ("groups",),
    "SpatialDropout2D": ("noise_shape", "trainable"),
}
# Separable layers write the settings of a kernel that they do not have.
_KERNEL = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")

_MISSING = re.compile(r"Could not locate (class|function) '([^']+)'|Unknown (\w+): '?([\w>.]+)'?")
_OTHERWISE = "Or export the model as a SavedModel, model.export(folder), and give the folder."


def read_model(path: Path) -> keras.Model:
    """Return the model of a .keras or .h5 file, not compiled.

    Files .h5 of Keras 2 are read too. No code from the file is executed.

    Args:
        path: a file of a whole model, not of weights alone.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not of that format, or Keras cannot rebuild the model; the
            message says what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    old = path.suffix in H5
    if not (h5py.is_hdf5(path) if old else zipfile.is_zipfile(path)):
        raise ValueError(f"{path} is not a {path.suffix} file, or it is incomplete.")
    try:
        with tempfile.TemporaryDirectory() as folder:
            path_read = _rewritten(path, Path(folder)) if old and _of_keras_2(path) else path
            return keras.models.load_model(path_read, compile=False)
    except Exception as error:  # Keras raises errors of many kinds
        raise ValueError(f"{path}: {_reason(str(error))}") from error


def _of_keras_2(path: Path) -> bool:
    with h5py.File(path) as file:
        version = file.attrs.get("keras_version", "3")
        version = version.decode() if isinstance(version, bytes) else version  # of early files
        return version.startswith("2") and "model_config" in file.attrs


def _rewritten(path: Path, folder: Path) -> Path:
    """Return a copy of a file of Keras 2 whose configuration Keras 3 reads."""
    copy = folder / path.name
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        _modernise(config)
        file.attrs["model_config"] = json.dumps(config)
    return copy


def _modernise(config: dict) -> None:
    """Change a layer's configuration of Keras 2, and those inside it, to Keras 3's form."""
    name, settings = config.get("class_name", ""), config.get("config")
    if not isinstance(settings, dict):
        return
    for key in _REFUSED.get(name, ()):
        if settings.get(key) in _WITHOUT_EFFECT[key]:
            settings.pop(key, None)
    if name == "SeparableConv2D":
        for key in _KERNEL:
            settings.pop(key, None)
    inner = settings.get("layers", [])
    for layer in [*inner, settings.get("layer")]:  # a wrapper such as TimeDistributed has one
        if isinstance(layer, dict):
            _modernise(layer)
    # Keras 2 counts the node that a nested model is built with. Keras 3 counts it only in its list
    # of outputs, and only for functional models.
    nested = {
        layer["config"]["name"]: layer["class_name"]
        for layer in inner
        if layer["class_name"] in ("Functional", "Sequential")
        and layer["config"]["layers"][0]["class_name"] == "InputLayer"
    }
    sequential = {name for name, kind in nested.items() if kind == "Sequential"}
    _uncount([layer.get("inbound_nodes") for layer in inner], set(nested))
    _uncount(settings.get("output_layers"), sequential)


def _uncount(references, names: set[str]) -> None:
    """Lower the node's index by 1 in all references [layer, node, tensor] to these layers."""
    if not isinstance(references, list):
        return
    if len(references) >= 3 and isinstance(references[0], str):
        if references[0] in names:
            references[1] -= 1
        return
    for reference in references:
        _uncount(reference, names)


def _reason(message: str) -> str:
    """Return in one line why Keras could not rebuild a model, and what to do.

    Args:
        message: Keras' own, which holds the whole configuration of the model.
    """
    if "tf_keras" in message or "keras.src.engine" in message:
        return "a .keras file of Keras 2; in Keras 2, save it as .h5, which Keras 3 reads."
    if "Lambda" in message and "deserialization" in message:
        return (
            "has a Lambda layer, whose Python code is not executed. If you trust the file, load "
            "it in Python after keras.config.enable_unsafe_deserialization(). " + _OTHERWISE
        )
    if missing := _MISSING.search(message):
        kind, name = (missing[1], missing[2]) if missing[2] else (missing[3], missing[4])
        if name.endswith("OpLambda") or name in _operations():
            return (
                f"has an operation outside any layer, {name}, which an .h5 file does not hold. In "
                "Keras 3, save it as .keras; in Keras 2, as a SavedModel, and give the folder."
            )
        return (
            f"needs the {kind} {name!r}, which is not registered. In Python, put "
            "@keras.saving.register_keras_serializable() before its definition and import it "
            "before loading. " + _OTHERWISE
        )
    if "No model config" in message:
        return "holds weights without a model; save the whole model: model.save(path)."
    last = " ".join(message.rsplit("Exception encountered:", 1)[-1].split())
    return f"Keras cannot rebuild the model: {last[:200]}{'...' * (len(last) > 200)} {_OTHERWISE}"


def _operations(kind: type = keras.Operation) -> set[str]:
    """Return the names of Keras' operations that are not layers."""
    names: set[str] = set()
    operation: type
    for operation in kind.__subclasses__():
        if not issubclass(operation, keras.layers.Layer):
            names |= {operation.__name__} | _operations(operation)
    return names
