"""SavedModels with named signatures, which TensorFlow Serving takes as they are."""

from pathlib import Path

import keras
import tensorflow as tf


def export_classifier(classifier: keras.Model, folder: Path) -> None:
    """Write a SavedModel with the signature serving_default.

    serving_default: images float32 [n, h, w, c] in [0, 1] -> logits and probabilities float32
    [n, classes], label int64 [n]. The weights lie in the variable collection "classifier".
    """

    def serve(images):
        return _answers(classifier(images, training=False))

    archive = keras.export.ExportArchive()
    archive.add_variable_collection("classifier", _variables(classifier))
    archive.add_endpoint("serving_default", serve, [_images(classifier)])
    archive.write_out(str(folder), verbose=False)


def export_defence(autoencoder: keras.Model, classifier: keras.Model, folder: Path) -> None:
    """Write a SavedModel with the signatures serving_default and reconstruct.

    serving_default: images float32 [n, h, w, c] in [0, 1] -> logits and probabilities float32
    [n, classes], label int64 [n], reconstruction float32 [n, h, w, c].
    reconstruct: images -> reconstruction, to put before any other classifier.
    The weights lie in the variable collections "autoencoder" and "classifier".
    """

    def reconstruct(images):
        return {"reconstruction": autoencoder(images, training=False)}

    def serve(images):
        answer = reconstruct(images)
        return answer | _answers(classifier(answer["reconstruction"], training=False))

    archive = keras.export.ExportArchive()
    archive.add_variable_collection("autoencoder", _variables(autoencoder))
    archive.add_variable_collection("classifier", _variables(classifier))
    archive.add_endpoint("serving_default", serve, [_images(autoencoder)])
    archive.add_endpoint("reconstruct", reconstruct, [_images(autoencoder)])
    archive.write_out(str(folder), verbose=False)


def _variables(model: keras.Model) -> list[tf.Variable]:
    # Not the Keras variables, and no track(): either would write every weight a second time.
    return [variable.value for variable in model.variables]


def _images(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(model.input_shape, tf.float32, name="images")


def _answers(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "label": tf.argmax(logits, axis=-1),
    }
