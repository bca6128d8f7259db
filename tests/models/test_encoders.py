"""The halves of an autoencoder around its latent, and the classifier of the first."""

import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.models import build
from keras_aaa.models.surgery import AUTOENCODERS, LATENT_CLASSIFIER, decoder, encoder, two_headed

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
