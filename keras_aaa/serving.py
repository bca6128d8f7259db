"""SavedModels with named signatures, and folders that TensorFlow Serving can load directly.

Kernels that fit into float16 (see keras_aaa.models.float16_kernels) are stored in float16 and cast
when they are used. The file has half the size, and the model returns the same results.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.models.float16_kernels import fits_float16


def export_classifier(classifier: keras.Model, folder: Path) -> None:
    """Write a SavedModel with the signature serving_default.

    serving_default: images float32 [n, h, w, c] in [0, 1] -> logits and probabilities float32
    [n, classes], label int64 [n]. The weights are in the variable collection "classifier".

    Args:
        classifier: images -> logits.
        folder: the folder to write.
    """
    archive = keras.export.ExportArchive()
    logits = _stored(archive, "classifier", classifier)

    def serve(images):
        return _answers(logits(images))

    archive.add_endpoint("serving_default", serve, [_images(classifier)])
    archive.write_out(str(folder), verbose=False)


def export_defence(autoencoder: keras.Model, classifier: keras.Model, folder: Path) -> None:
    """Write a SavedModel with the signatures serving_default and reconstruct.

    serving_default: images float32 [n, h, w, c] in [0, 1] -> logits and probabilities float32
    [n, classes], label int64 [n], reconstruction float32 [n, h, w, c].
    reconstruct: images -> reconstruction, for use before any other classifier.
    The weights are in the variable collections "autoencoder" and "classifier".

    Args:
        autoencoder: images -> reconstructions.
        classifier: images -> logits.
        folder: the folder to write.
    """
    archive = keras.export.ExportArchive()
    reconstruction = _stored(archive, "autoencoder", autoencoder)
    logits = _stored(archive, "classifier", classifier)

    def reconstruct(images):
        return {"reconstruction": reconstruction(images)}

    def serve(images):
        answer = reconstruct(images)
        return answer | _answers(logits(answer["reconstruction"]))

    archive.add_endpoint("serving_default", serve, [_images(autoencoder)])
    archive.add_endpoint("reconstruct", reconstruct, [_images(autoencoder)])
    archive.write_out(str(folder), verbose=False)


def _stored(archive: keras.export.ExportArchive, name: str, model: keras.Model) -> Callable:
    """Add a model's weights as the collection `name`; return it as a function of images alone.

    The weights are the ones that set_weights() takes. Dropout's random state is a variable but not
    a weight.
    """
    stored_weights = [
        # Keras variables or track() would write every weight a second time.
        tf.Variable(tf.cast(v.value, tf.float16)) if fits_float16(v.value) else v.value
        for v in model.weights
    ]
    archive.add_variable_collection(name, stored_weights)

    def call(images):
        values = [
            (variable, tf.cast(stored, variable.dtype))
            for variable, stored in zip(model.weights, stored_weights, strict=True)
        ]
        with keras.StatelessScope(state_mapping=values):
            return model(images, training=False)

    return call


def _images(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(model.input_shape, tf.float32, name="images")


def _answers(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "label": tf.argmax(logits, axis=-1),
    }


WARM_UP_BATCHES = (1, 32)

_MODEL = """  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
"""

# Batches are limited to the largest warm-up batch. Larger ones would work without a warm-up.
_BATCHING = """max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 64 }
"""

_README = """# {name} for TensorFlow Serving

In this folder:

    docker run --rm -p 8501:8501 -p 8500:8500 -v "$PWD:/models" tensorflow/serving \\
      --model_config_file=/models/models.config \\
      --enable_batching --batching_parameters_file=/models/batching.config

    python3 -c 'import json; black = {black}; print(json.dumps(
      {{"signature_name": "serving_default", "instances": [black]}}))' |
      curl -d @- http://localhost:8501/v1/models/{name}:predict

An instance is an image {shape}, float in [0, 1]. Signatures:

{signatures}
"""


def export_for_serving(artefact: Path, name: str, version: int, out: Path) -> Path:
    """Write out/<name>/<version>/ with warm-up requests, models.config, batching.config, <name>.md.

    Several models can share one folder; models.config lists all of them.

    Args:
        artefact: the folder of a SavedModel whose signatures take `images`.
        name, version: name and version under which the server offers the model.
        out: the folder to write; other files in it do not change.

    Returns:
        The folder of the SavedModel.

    Raises:
        ValueError: if that version exists already.
        ImportError: if tensorflow-serving-api is not installed (extra "serving").
    """
    folder = out / name / str(version)
    if folder.exists():
        raise ValueError(f"{folder} exists; choose another --out or delete it.")
    loaded = tf.saved_model.load(str(artefact))
    signatures = {
        key: (function.structured_input_signature[1], function.structured_outputs)
        for key, function in sorted(loaded.signatures.items())
        if not key.startswith("__")
    }
    shape = signatures["serving_default"][0]["images"].shape[1:]
    requests = _warm_up_requests(name, list(signatures), shape)
    shutil.copytree(artefact, folder)
    write_requests(requests, folder / "assets.extra" / "tf_serving_warmup_requests")
    models = sorted({path.parent.parent.name for path in out.glob("*/*/saved_model.pb")})
    configs = "".join(_MODEL.format(name=model) for model in models)
    (out / "models.config").write_text(f"model_config_list {{\n{configs}}}\n")
    (out / "batching.config").write_text(_BATCHING)
    lines = [
        f"- `{key}`: {_fields(inputs)} -> {_fields(outputs)}"
        for key, (inputs, outputs) in signatures.items()
    ]
    black = "0.0"
    for size in reversed(shape):
        black = f"[{black}] * {size}"
    text = _README.format(name=name, shape=list(shape), black=black, signatures="\n".join(lines))
    (out / f"{name}.md").write_text(text)
    return folder


def write_requests(requests: list, path: Path) -> None:
    """Write PredictionLog records to the TFRecord file that the server replays as it starts."""
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(request.SerializeToString())


def _warm_up_requests(name: str, signatures: list[str], shape: tf.TensorShape) -> list:
    try:
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "Warm-up requests need tensorflow-serving-api: pip install 'keras_aaa[serving]'."
        ) from error
    random = np.random.default_rng(0)
    logs = []
    for signature in signatures:
        for batch in WARM_UP_BATCHES:
            images = random.random((batch, *shape), np.float32)
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name=signature),
                inputs={"images": tf.make_tensor_proto(images)},
            )
            log = prediction_log_pb2.PredictLog(request=request)
            logs.append(prediction_log_pb2.PredictionLog(predict_log=log))
    return logs


def _fields(specs: dict) -> str:
    return ", ".join(
        f"{name} {spec.dtype.name} {spec.shape}" for name, spec in sorted(specs.items())
    )
