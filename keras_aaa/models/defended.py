"""defend(): an autoencoder before a classifier, as one model."""

import keras

from keras_aaa.models.softmax import as_logits


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
