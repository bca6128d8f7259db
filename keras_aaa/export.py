"""SavedModels with named signatures, which TensorFlow Serving takes as they are.

Kernels whose values are float16's (see keras_aaa.models.half) are stored in float16 and cast when
they are used, so that a file has half the size and a model the same answers.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from keras_aaa.models.half import is_half


def export_classifier(classifier: keras.Model, folder: Path) -> None:
    """Write a SavedModel with the signature serving_default.

    serving_default: images float32 [n, h, w, c] in [0, 1] -> logits and probabilities float32
    [n, classes], label int64 [n]. The weights lie in the variable collection "classifier".
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
    reconstruct: images -> reconstruction, to put before any other classifier.
    The weights lie in the variable collections "autoencoder" and "classifier".
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

    Weights are what set_weights() takes: a dropout layer's random state, a variable too, is none.
    """
    kept = [
        # Not the Keras variables, and no track(): either would write every weight a second time.
        tf.Variable(tf.cast(v.value, tf.float16)) if is_half(v.value) else v.value
        for v in model.weights
    ]
    archive.add_variable_collection(name, kept)

    def call(images):
        values = [
            (variable, tf.cast(stored, variable.dtype))
            for variable, stored in zip(model.weights, kept, strict=True)
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
