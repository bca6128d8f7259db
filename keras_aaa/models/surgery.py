"""Take models apart and put them together: defend(), logits without softmax, encoder, decoder."""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_aaa.checks import lookup
from keras_aaa.models import autoencoders
from keras_aaa.models.blocks import Shape, logits


def defend(autoencoder: keras.Model, classifier: keras.Model) -> keras.Model:
    """Return the functional model classifier(autoencoder(images)), the defence C(A(x)).

    Both models are shared, not copied: training the one trains the other. A classifier that ends
    in softmax is given back its logits, with a warning.
    Paper: AAA, Figure 1.

    Args:
        autoencoder: images [n, h, w, c] in [0, 1] -> images of the same shape.
        classifier: images of that shape -> logits [n, classes].

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> logits float32 [n, classes].

    Raises:
        TypeError: if either is not a keras.Model.
        ValueError: if the shapes do not fit; says which.
    """
    for role, model in (("autoencoder", autoencoder), ("classifier", classifier)):
        if not isinstance(model, keras.Model):
            raise TypeError(f"{role}: expected a keras.Model, got {type(model).__name__}.")
        shape = getattr(model, "input_shape", None) if model.built else None
        if not isinstance(shape, tuple):
            raise ValueError(
                f"{role}: expected a built functional or sequential model with one input; wrap a "
                "subclassed one: keras.Model(inputs, model(inputs))."
            )
    images, reconstruction = autoencoder.input_shape[1:], autoencoder.output_shape[1:]
    if reconstruction != images:
        raise ValueError(
            f"autoencoder: expected an output of its input's shape {images}, got {reconstruction}."
        )
    if classifier.input_shape[1:] != reconstruction:
        raise ValueError(
            f"classifier: takes images of shape {classifier.input_shape[1:]}, but the autoencoder "
            f"gives {reconstruction}."
        )
    if len(classifier.output_shape) != 2:
        raise ValueError(
            f"classifier: expected logits (n, classes), got an output {classifier.output_shape}."
        )
    inputs = keras.Input(images, dtype="float32", name="images")
    outputs = as_logits(classifier)(autoencoder(inputs))
    return keras.Model(inputs, outputs, name=f"{autoencoder.name}_{classifier.name}")


LATENT = "latent"  # the name of an autoencoder's latent layer
LATENT_CLASSIFIER = "latent_classifier"  # the name of the dense layer that makes logits of it
AUTOENCODERS = {
    builder.__name__: builder
    for builder in (
        autoencoders.conv_dense_autoencoder,
        autoencoders.conv_autoencoder,
        autoencoders.unet,
        autoencoders.pooled_autoencoder,
    )
}


def encoder(autoencoder: keras.Model) -> keras.Model:
    """Return images -> latent, sharing the autoencoder's layers.

    Raises:
        ValueError: if it has no layer named "latent".
    """
    return keras.Model(autoencoder.input, _latent(autoencoder).output)


def decoder(autoencoder: keras.Model) -> keras.Model:
    """Return latent -> reconstruction, sharing the autoencoder's layers.

    Raises:
        ValueError: if it has no layer named "latent", or connections around it (a U-Net).
    """
    try:
        return keras.Model(_latent(autoencoder).output, autoencoder.output)
    except ValueError as error:
        raise ValueError(
            f"autoencoder: {autoencoder.name} has connections around its latent, so that it "
            "cannot be decoded from there alone."
        ) from error


def encoder_classifier(
    autoencoder: str = "unet", input_shape: Shape = (32, 32, 3), classes: int = 10, **sizes
) -> keras.Model:
    """The encoder of an autoencoder, with one dense layer on its latent.

    Trained under attack it learns what the autoencoder has to know of the images, at a fraction of
    the cost, and without a frozen classifier between it and the loss. Of a latent [n, h, w, c] the
    dense layer sees the means over h and w.

    Args:
        autoencoder: its architecture, a name in AUTOENCODERS.
        input_shape: (h, w, c).
        classes: number of logits.
        **sizes: of the autoencoder.

    Raises:
        ValueError: for another architecture; lists those there are.
    """
    built = lookup("autoencoder", autoencoder, AUTOENCODERS)(input_shape=input_shape, **sizes)
    return keras.Model(built.input, _latent_logits(built, classes), name="encoder_classifier")


def two_headed(autoencoder: keras.Model, classes: int) -> keras.Model:
    """Return the autoencoder with logits of its latent, by a new dense layer, as another output.

    As in encoder_classifier, that layer sees the means over h and w of a latent that has them. Its
    name is LATENT_CLASSIFIER.

    Args:
        autoencoder: its layers are shared.
        classes: number of logits.

    Returns:
        keras.Model: images -> (logits [n, classes], reconstruction [n, h, w, c]), float32, in
        joint_network's order.

    Raises:
        ValueError: if the autoencoder has no layer named "latent".
    """
    outputs = [_latent_logits(autoencoder, classes), autoencoder.output]
    return keras.Model(autoencoder.input, outputs, name=f"two_headed_{autoencoder.name}")


def _latent_logits(autoencoder: keras.Model, classes: int):
    latent = _latent(autoencoder).output
    if len(latent.shape) == 4:
        latent = layers.GlobalAveragePooling2D()(latent)
    return logits(latent, classes, LATENT_CLASSIFIER)


def _latent(autoencoder: keras.Model) -> layers.Layer:
    if LATENT not in [layer.name for layer in autoencoder.layers]:
        raise ValueError(f"autoencoder: expected a layer named {LATENT!r} in {autoencoder.name}.")
    return autoencoder.get_layer(LATENT)


SMALLEST = 1e-37  # a probability that float32 still holds


def ends_in_softmax(model: keras.Model) -> bool:
    """Return whether the model's last layer is, or applies, a softmax."""
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        return ends_in_softmax(last)
    activation = getattr(last, "activation", None)
    return isinstance(last, layers.Softmax) or activation is keras.activations.softmax


def as_logits(model: keras.Model) -> keras.Model:
    """Return `model` itself, or, if it ends in softmax, a model that stops just before it.

    The returned model shares every layer with the original, but for a last dense layer that
    applies softmax itself: that one is copied, with its weights as they are now.

    Args:
        model: a functional keras.Model: images -> logits or probabilities [n, classes].

    Raises:
        ValueError: if the softmax sits where it cannot be taken off (a custom model).
    """
    if not ends_in_softmax(model):
        return model
    warnings.warn(
        f"Model {model.name!r} ends in softmax; its logits are used instead.", stacklevel=3
    )
    return _without_softmax(model)


def _without_softmax(model: keras.Model) -> keras.Model:
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        inner = _without_softmax(last)
        return keras.models.clone_model(
            model, clone_function=lambda layer: inner if layer is last else layer
        )
    if not hasattr(last, "input"):
        raise ValueError(f"Cannot take the softmax off model {model.name!r}: give one with logits.")
    if isinstance(last, layers.Softmax | layers.Activation):
        return keras.Model(model.inputs, last.input, name=model.name)
    config = {**last.get_config(), "activation": "linear"}
    linear = type(last).from_config(config)
    outputs = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(model.inputs, outputs, name=model.name)


def are_probabilities(outputs) -> bool:
    """Return whether outputs [n, classes] are not negative and each row sums to 1."""
    values = np.asarray(outputs, np.float64)
    return bool(values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() < 1e-3)


def of_probabilities(model: Callable) -> Callable:
    """Return the logarithms of a model that answers with probabilities: logits, up to a constant.

    For a softmax that as_logits cannot see or take off: an operation, or inside a SavedModel.

    Args:
        model: keras.Model or callable: images -> probabilities [n, classes].

    Returns:
        keras.Model if `model` is a functional one, else a callable: images -> log-probabilities.
    """
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        logs = keras.ops.log(keras.ops.maximum(model.outputs[0], SMALLEST))
        return keras.Model(model.inputs, logs, name=model.name)
    return lambda images: tf.math.log(tf.maximum(model(images), SMALLEST))
