"""Models put together, a softmax taken off, and the halves of an autoencoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.models import build, defend
from keras_aaa.models.surgery import (
    AUTOENCODERS,
    LATENT_CLASSIFIER,
    as_logits,
    decoder,
    encoder,
    two_headed,
)


def test_defend_composes_and_shares_the_models(small_autoencoder, small_classifier, digits):
    defended = defend(small_autoencoder, small_classifier)
    images = digits[0][:4]
    np.testing.assert_allclose(
        defended(images), small_classifier(small_autoencoder(images)), rtol=1e-5, atol=1e-6
    )
    assert {id(v) for v in defended.variables} == {
        id(v) for m in (small_autoencoder, small_classifier) for v in m.variables
    }


def test_defend_names_the_shapes_that_do_not_fit(small_autoencoder):
    with pytest.raises(ValueError, match=r"\(32, 32, 3\).*\(28, 28, 1\)"):
        defend(small_autoencoder, build("dnn"))
    with pytest.raises(ValueError, match="output of the same shape"):
        defend(build("fc"), build("fc"))
    with pytest.raises(TypeError, match=r"expected a keras\.Model"):
        defend(small_autoencoder, lambda x: x)


@pytest.mark.parametrize("ending", ["dense", "layer"])
def test_a_softmax_is_taken_off_with_a_warning(ending, digits):
    inputs = keras.Input((28, 28, 1))
    hidden = layers.Dense(10, activation="softmax" if ending == "dense" else None)(
        layers.Flatten()(inputs)
    )
    model = keras.Model(inputs, hidden if ending == "dense" else layers.Softmax()(hidden))
    with pytest.warns(UserWarning, match="softmax"):
        logits = as_logits(model)
    probabilities = keras.ops.softmax(logits(digits[0][:8]))
    np.testing.assert_allclose(probabilities, model(digits[0][:8]), atol=1e-6)


@pytest.mark.parametrize("ending", ["dense", "layer", "activation"])
@pytest.mark.parametrize("called", [False, True])
def test_a_softmax_is_taken_off_a_sequential_model(ending, called, small_autoencoder, digits):
    images = digits[0][:8]
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten()])
    model.add(layers.Dense(10, activation="softmax" if ending == "dense" else None))
    if ending != "dense":
        model.add(layers.Softmax() if ending == "layer" else layers.Activation("softmax"))
    if called:
        model(images)
    with pytest.warns(UserWarning, match="softmax"):
        defended = defend(small_autoencoder, model)
    expected = model(small_autoencoder(images))
    np.testing.assert_allclose(keras.ops.softmax(defended(images)), expected, atol=1e-6)


@pytest.mark.parametrize("outer", ["functional", "sequential"])
@pytest.mark.parametrize("ending", ["dense", "layer"])
def test_a_softmax_is_taken_off_a_model_within_a_model(outer, ending, small_autoencoder, digits):
    activation = "softmax" if ending == "dense" else None
    inner = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10, activation=activation)]
    )
    if ending == "layer":
        inner.add(layers.Softmax())
    before = [keras.Input((28, 28, 1)), layers.Rescaling(2.0), layers.Dense(1), inner]
    model = keras.Sequential(before)
    if outer == "functional":
        images = keras.Input((28, 28, 1))
        model = keras.Model(images, inner(before[2](before[1](images))))
    with pytest.warns(UserWarning, match="softmax") as warned:
        defended = defend(small_autoencoder, model)
    assert len(warned) == 1
    images = digits[0][:8]
    expected = model(small_autoencoder(images))
    np.testing.assert_allclose(keras.ops.softmax(defended(images)), expected, atol=1e-6)
    assert id(before[2].kernel) in {id(variable) for variable in defended.variables}


def test_a_subclassed_model_is_refused_with_a_way_out(small_autoencoder):
    class Mine(keras.Model):
        def call(self, images):
            return images

    with pytest.raises(ValueError, match=r"functional or sequential.*wrap a subclassed one"):
        defend(small_autoencoder, Mine())


SMALL = {
    "conv_dense_autoencoder": {"width": 4, "latent": 6},
    "conv_autoencoder": {"width": 2},
    "unet": {"width": 2},
    "pooled_autoencoder": {"width": 4},
}
IMAGES = tf.random.stateless_uniform((3, 16, 16, 1), (1, 2))


def test_every_autoencoder_is_there():
    assert set(SMALL) == set(AUTOENCODERS)


@pytest.mark.parametrize("name", SMALL)
def test_the_encoders_classifier_is_a_dense_layer_on_the_latent(name):
    sizes = {"input_shape": (16, 16, 1), **SMALL[name]}
    classifier = build("encoder_classifier", autoencoder=name, classes=5, **sizes)
    latent = encoder(classifier)(IMAGES).numpy()
    seen = latent.mean(axis=(1, 2)) if latent.ndim == 4 else latent
    kernel, bias = classifier.get_weights()[-2:]
    assert kernel.shape == (seen.shape[1], 5)
    np.testing.assert_allclose(classifier(IMAGES), seen @ kernel + bias, atol=1e-5)
    # An autoencoder takes the encoder's weights, and then encodes as the classifier does.
    autoencoder = build(name, **sizes)
    assert not np.allclose(encoder(autoencoder)(IMAGES), latent)
    encoder(autoencoder).set_weights(encoder(classifier).get_weights())
    np.testing.assert_allclose(encoder(autoencoder)(IMAGES), latent, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_two_headed_is_the_autoencoder_with_a_dense_layer_on_its_latent(name):
    autoencoder = build(name, input_shape=(16, 16, 1), **SMALL[name])
    model = two_headed(autoencoder, 5)
    logits, reconstruction = model(IMAGES)
    np.testing.assert_array_equal(reconstruction, autoencoder(IMAGES))
    latent = encoder(autoencoder)(IMAGES).numpy()
    seen = latent.mean(axis=(1, 2)) if latent.ndim == 4 else latent
    kernel, bias = model.get_layer(LATENT_CLASSIFIER).get_weights()
    np.testing.assert_allclose(logits, seen @ kernel + bias, atol=1e-5)


def test_the_halves_are_the_whole_but_for_a_unet():
    autoencoder = build("conv_autoencoder", input_shape=(16, 16, 1), **SMALL["conv_autoencoder"])
    whole = decoder(autoencoder)(encoder(autoencoder)(IMAGES))
    np.testing.assert_allclose(whole, autoencoder(IMAGES), atol=1e-6)
    with pytest.raises(ValueError, match="connections around its latent"):
        decoder(build("unet", input_shape=(16, 16, 1), width=2))


def test_what_has_no_encoder_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'unet'"):
        build("encoder_classifier", autoencoder="unte")
    with pytest.raises(ValueError, match="expected a layer named 'latent'"):
        encoder(build("fc", input_shape=(16, 16, 1)))
