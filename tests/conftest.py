"""Fixtures shared by the tests: small models, real digits."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest

from keras_aaa import data
from keras_aaa.models import build
from keras_aaa.threat_model import threat_for


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def digits():
    """The first 64 test digits: float32 [64, 28, 28, 1] in [0, 1], int64 [64]."""
    images, labels = data.first(data.load("mnist", "test"), 64)
    return images.numpy(), labels.numpy()


@pytest.fixture
def threat():
    return threat_for("mnist")


@pytest.fixture
def small_autoencoder():
    return build("conv_dense_autoencoder", latent=8, width=4)


@pytest.fixture
def small_classifier():
    return build("madry", width=4, dense=16)
