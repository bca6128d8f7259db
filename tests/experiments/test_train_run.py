"""A training run in its folder, without a command around it."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from experiments.train_run import RunContext, Trained, train_in_folder
from keras_aaa import data
from keras_aaa.models import ModelConfig
from keras_aaa.threat_model import threat_for
from keras_aaa.training import LOSSES, Recipe

# A learning rate that moves nothing: the result is what the run began with.
STILL = Recipe(
    epochs=1,
    batch_size=16,
    train_examples=16,
    learning_rate=1e-8,
    attack_steps=1,
    attack_step_size=0.1,
    validation_examples=16,
    validation_steps=1,
)
IMAGES = data.first(data.load("mnist", "train"), 16)[0]


def _autoencoder(width: int) -> Trained:
    built = ModelConfig("conv_autoencoder", {"width": width, "input_shape": (28, 28, 1)})
    model = built.build()
    for _ in range(30):  # else its normalisations make every image grey, whatever the weights
        model(IMAGES, training=True)
    return Trained("narrow", model, built, None)


def _train(tmp_path, start: Trained | None, config: ModelConfig, **options) -> Trained:
    classifier = zoo.load("mnist_fc")
    return train_in_folder(
        RunContext("mnist", None, "float32", tf.distribute.get_strategy(), tmp_path, 60.0),
        "wide",
        config,
        STILL,
        loss=LOSSES["ce_mse"],
        threat=threat_for("mnist"),
        classifiers=(Trained("mnist_fc", classifier, ModelConfig("fc"), None),),
        start=start,
        **options,
    )


def test_a_run_begins_with_a_narrower_models_weights(tmp_path):
    start = _autoencoder(2)
    found = _train(tmp_path, start, ModelConfig("conv_autoencoder", {"width": 4}))
    assert found.config.sizes["width"] == 4
    assert list(found.record["identity"]["start"]) == ["narrow"]
    # Batch normalisation's averages have moved by a step.
    apart = np.abs(found.model(IMAGES) - start.model(IMAGES)).mean()
    other = np.abs(_autoencoder(4).model(IMAGES) - start.model(IMAGES)).mean()
    assert apart < 0.1 * other


def test_an_encoder_that_has_learnt_nothing_is_not_frozen(tmp_path):
    with pytest.raises(ValueError, match="starts from random weights"):
        _train(tmp_path, None, ModelConfig("conv_autoencoder", {"width": 2}), frozen_encoder=True)


@pytest.mark.parametrize(
    "architecture, message",
    [
        (ModelConfig("conv_autoencoder", {"width": 1}), "narrow cannot initialise"),
        (ModelConfig("conv_dense_autoencoder", {"width": 2}), "narrow is a conv_autoencoder"),
    ],
)
def test_a_start_that_does_not_fit_leaves_no_folder(tmp_path, architecture, message):
    with pytest.raises(ValueError, match=message):
        _train(tmp_path, _autoencoder(2), architecture)
    assert not (tmp_path / "wide").exists()
