"""Combine and split models: defend(), logits without softmax, encoder, decoder."""

import warnings
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from keras_aaa.checks import lookup
from keras_aaa.models import autoencoders
from keras_aaa.models.blocks import Shape, logits


def defend(autoencoder: keras.Model, classifier: keras.Model) -> keras.Model:
    """Return the functional model classifier(autoencoder(images)), the defence C(A(x)).

    Both models are shared, not copied: training the defence also trains them. If the classifier
    ends in softmax, its logits are used, with a warning.
    Paper: AAA, Figure 1.

    Args:
        autoencoder: images [n, h, w, c] in [0, 1] -> images of the same shape.
        classifier: images of that shape -> logits [n, classes].

    Returns:
        keras.Model: images float32 [n, h, w, c] in [0, 1] -> logits float32 [n, classes].

    Raises:
        TypeError: if either is not a keras.Model.
        ValueError: if a model is not built, or the shapes do not match; the message says which.
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
            f"autoencoder: expected an output of the same shape as its input {images}, got "
            f"{reconstruction}."
        )
    if classifier.input_shape[1:] != reconstruction:
        raise ValueError(
            f"classifier: takes images of shape {classifier.input_shape[1:]}, but the autoencoder "
            f"returns {reconstruction}."
        )
    if len(classifier.output_shape) != 2:
        raise ValueError(
            f"classifier: expected logits (n, classes), got an output {classifier.output_shape}."
        )
    inputs = keras.Input(images, dtype="float32", name="images")
    outputs = as_logits(classifier)(autoencoder(inputs))
    return keras.Model(inputs, outputs, name=f"{autoencoder.name}_{classifier.name}")


LATENT = "latent"  # the name of an autoencoder's latent layer
LATENT_CLASSIFIER = "latent_classifier"  # the name of the dense layer from latent to logits
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
    """Return the model images -> latent; it shares the autoencoder's layers.

    Raises:
        ValueError: if the autoencoder has no layer named "latent".
    """
    return keras.Model(autoencoder.input, _latent(autoencoder).output)


def decoder(autoencoder: keras.Model) -> keras.Model:
    """Return the model latent -> reconstruction; it shares the autoencoder's layers.

    Raises:
        ValueError: if the autoencoder has no layer named "latent", or has connections around it
            (a U-Net).
    """
    try:
        return keras.Model(_latent(autoencoder).output, autoencoder.output)
    except ValueError as error:
        raise ValueError(
            f"autoencoder: {autoencoder.name} has connections around its latent, which cannot "
            "be decoded alone; use an autoencoder without them."
        ) from error


def encoder_classifier(
    autoencoder: str = "unet", input_shape: Shape = (32, 32, 3), classes: int = 10, **sizes
) -> keras.Model:
    """Classifier made of an autoencoder's encoder and one dense layer on the latent.

    Adversarial training of this classifier teaches the encoder the features that the autoencoder
    needs. It costs a fraction of the autoencoder's training, and there is no frozen classifier
    between the encoder and the loss. For a latent [n, h, w, c], the dense layer takes the means
    over h and w.

    Args:
        autoencoder: the autoencoder's architecture, a name in AUTOENCODERS.
        input_shape: (h, w, c).
        classes: number of logits.
        **sizes: other arguments of the autoencoder's builder.

    Raises:
        ValueError: for an unknown architecture; the message lists the known ones.
    """
    built = lookup("autoencoder", autoencoder, AUTOENCODERS)(input_shape=input_shape, **sizes)
    return keras.Model(built.input, _latent_logits(built, classes), name="encoder_classifier")


def two_headed(autoencoder: keras.Model, classes: int) -> keras.Model:
    """Return the autoencoder with an additional output: logits from a new layer on its latent.

    As in encoder_classifier, the new dense layer takes the means over h and w if the latent has
    these axes. The layer's name is LATENT_CLASSIFIER.

    Args:
        autoencoder: a model with a layer named "latent"; its layers are shared.
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


SMALLEST = 1e-37  # lower bound of probabilities; float32 still represents it


def ends_in_softmax(model: keras.Model) -> bool:
    """Return whether the model's last layer is, or applies, a softmax."""
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        return ends_in_softmax(last)
    activation = getattr(last, "activation", None)
    return isinstance(last, layers.Softmax) or activation is keras.activations.softmax


def as_logits(model: keras.Model) -> keras.Model:
    """Return the model without its final softmax, or the model itself if it has none.

    Removing a softmax gives a warning.

    The returned model shares its layers with the original. There is one exception: a last dense
    layer that applies softmax itself is copied with its present weights.

    Args:
        model: a functional keras.Model: images -> logits or probabilities [n, classes].

    Returns:
        keras.Model: images -> logits [n, classes]; `model` itself if it does not end in softmax.

    Raises:
        ValueError: if the softmax cannot be removed (a custom model).
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
        raise ValueError(
            f"Cannot remove the softmax of model {model.name!r}: pass one with logits."
        )
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


def log_probabilities(probabilities, smallest: float = SMALLEST):
    """Return log(max(probabilities, smallest)), which are logits up to a constant.

    Args:
        probabilities: [n, classes], a tensor of Keras or TensorFlow.
        smallest: smaller probabilities are raised to it, so that the logarithm is finite.
    """
    return keras.ops.log(keras.ops.maximum(probabilities, smallest))


def of_probabilities(model: Callable) -> Callable:
    """Return a model of the log-probabilities, which are logits up to a constant.

    Use it for a softmax that as_logits cannot find or remove: an operation, or a softmax inside a
    SavedModel.

    Args:
        model: keras.Model or callable: images -> probabilities [n, classes].

    Returns:
        Images -> log-probabilities: a keras.Model if `model` is a functional one, otherwise a
        callable.
    """
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        return keras.Model(model.inputs, log_probabilities(model.outputs[0]), name=model.name)
    return lambda images: log_probabilities(model(images))
