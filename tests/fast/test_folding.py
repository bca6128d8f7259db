"""Batch normalisation folded into the layer before it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.fast.fast_copy import FastCopy
from keras_aaa.fast.folding import foldable, folded, leaves
from keras_aaa.models import build, defend


def _randomised(model):
    """Normalisation that does something: no mean of 0, no variance of 1."""
    for variable in model.variables:
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(np.random.default_rng(1).uniform(0.5, 2.0, variable.shape))
        elif "mean" in variable.path or "beta" in variable.path:
            variable.assign(np.random.default_rng(2).normal(0, 0.5, variable.shape))
    return model


@pytest.mark.parametrize("scale, center, bias", [(True, True, False), (False, False, True)])
def test_folded_weights_do_what_both_layers_do(scale, center, bias):
    inputs = keras.Input((6, 6, 2))
    conv = layers.Conv2D(3, 3, use_bias=bias, bias_initializer="ones")
    normalisation = layers.BatchNormalization(scale=scale, center=center)
    model = _randomised(keras.Model(inputs, normalisation(conv(inputs))))
    assert foldable(model) == {id(conv): normalisation}
    images = tf.random.uniform((4, 6, 6, 2), seed=0)
    kernel, shift = folded(conv, normalisation)
    np.testing.assert_allclose(
        tf.nn.conv2d(images, kernel, 1, "VALID") + shift, model(images, training=False), atol=1e-5
    )


@pytest.mark.parametrize("precision, tolerance", [("bfloat16", 0.03), ("float32", 1e-4)])
@pytest.mark.parametrize(
    "architecture, sizes",
    [
        ("conv_autoencoder", {"width": 4}),
        ("unet", {"width": 4}),
        ("vgg19", {"width": 4}),
        ("resnet", {}),
    ],
)
def test_a_copy_with_folded_layers_computes_the_model(architecture, sizes, precision, tolerance):
    model = _randomised(build(architecture, **sizes))
    copy = FastCopy(model, precision)
    images = tf.random.uniform((8, *model.input_shape[1:]), seed=0)
    expected = model(images, training=False)
    error = tf.reduce_mean(tf.abs(copy(images) - expected))
    assert error < tolerance * (tf.math.reduce_std(expected) + 0.1)
    kinds = [type(layer) for layer in leaves(copy._graph)]
    left = sum(issubclass(kind, layers.BatchNormalization) for kind in kinds)
    assert left == len([v for v in model.variables if "variance" in v.path]) - len(foldable(model))
    if architecture != "resnet":  # there normalisation comes first
        assert not left


def test_nested_models_are_folded_and_gradients_reach_the_normalisation(small_classifier):
    autoencoder = _randomised(build("conv_autoencoder", width=2))
    copy = FastCopy(defend(autoencoder, small_classifier), "float32")
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in leaves(copy._graph))
    images = tf.random.uniform((2, 28, 28, 1), seed=0)
    gamma = next(v for v in autoencoder.trainable_variables if "gamma" in v.path)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(copy(images)[:, 0])
    assert np.abs(tape.gradient(loss, gamma.value)).max() > 0


def test_what_others_read_too_is_not_folded():
    inputs = keras.Input((6, 6, 2))

    def model(outputs_of, **options):
        x = layers.Conv2D(3, 3, **options)(inputs)
        return keras.Model(inputs, outputs_of(x, layers.BatchNormalization()(x)))

    assert foldable(model(lambda x, normal: normal))
    assert not foldable(model(lambda x, normal: layers.Add()([x, normal])))
    assert not foldable(model(lambda x, normal: [x, normal]))
    assert not foldable(model(lambda x, normal: normal, activation="relu"))

    shared = layers.Conv2D(2, 3, padding="same")
    once = layers.BatchNormalization()(shared(inputs))
    assert not foldable(keras.Model(inputs, shared(once)))
