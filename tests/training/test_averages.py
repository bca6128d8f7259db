"""The moving average of the weights that a training may keep."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa import data
from keras_aaa.models import build
from keras_aaa.training import ClassifierTask, Recipe, train
from keras_aaa.training.averages import Averages
from keras_aaa.training.schedule import averages_are_better

RECIPE = Recipe(
    epochs=2,
    batch_size=16,
    train_examples=64,
    validation_examples=64,
    average_decay=0.8,
    schedule="constant",
)


def test_updates_by_hand():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0]], np.float32)])
    averages = Averages(model, decay=0.15)
    expected = 1.0
    for count, weight in enumerate((2.0, 4.0, 8.0)):
        model.set_weights([np.array([[weight]], np.float32)])
        tf.function(averages.update)()
        kept = min(0.15, (1 + count) / (10 + count))  # 0.1, then 0.15
        expected = kept * expected + (1 - kept) * weight
    np.testing.assert_allclose(averages.copies[0], [[expected]], rtol=1e-6)
    with averages.in_place():
        np.testing.assert_allclose(model.get_weights()[0], [[expected]], rtol=1e-6)
    assert model.get_weights()[0] == 8.0
    averages.publish()
    np.testing.assert_allclose(model.get_weights()[0], [[expected]], rtol=1e-6)


def test_statistics_are_averaged_and_random_states_are_not():
    layers = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    names = {variable.name for variable in Averages(model, 0.9).averaged}
    assert names == {"gamma", "beta", "moving_mean", "moving_variance"}


@pytest.mark.parametrize("robust", [False, True])
def test_the_better_ones_are_chosen_by_what_training_is_for(robust):
    figures = {"val_accuracy": 0.5, "averaged_val_accuracy": 0.6}
    if robust:
        figures |= {"val_robust_accuracy": 0.4, "averaged_val_robust_accuracy": 0.3}
    assert averages_are_better(figures) == (not robust)
    assert averages_are_better(figures | {"averaged_val_robust_accuracy": 0.4})


def trained(folder, recipe):
    keras.utils.set_random_seed(0)
    model = build("fc", hidden=(8,))
    progress = train(
        ClassifierTask(model),
        recipe,
        train_data=data.load("mnist", "train"),
        validation_data=data.first(data.load("mnist", "validation"), 64),
        workdir=folder,
    )
    return model.get_weights(), progress.history[-1]


def test_training_ends_with_them_where_they_are_better(tmp_path, monkeypatch):
    plain, row = trained(tmp_path / "plain", dataclasses.replace(RECIPE, average_decay=0.0))
    assert not any(name.startswith("averaged_") for name in row)
    found = {}
    for better in (False, True):
        monkeypatch.setattr(
            "keras_aaa.training.trainer.averages_are_better", lambda _, better=better: better
        )
        found[better], row = trained(tmp_path / str(better), RECIPE)
        assert 0 < row["averaged_val_loss"] != row["val_loss"]
    for own, same, averaged in zip(plain, found[False], found[True], strict=True):
        np.testing.assert_array_equal(own, same)  # averaging leaves training as it is
        assert not np.array_equal(own, averaged)
    # A finished run that is started again ends with the same ones.
    again, _ = trained(tmp_path / "True", RECIPE)
    for one, other in zip(found[True], again, strict=True):
        np.testing.assert_array_equal(one, other)
