import dataclasses
import logging
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.models import build
from keras_aaa.training import (
    LOSSES,
    AutoencoderTask,
    ClassifierTask,
    Loss,
    Recipe,
    TrainingError,
)
from keras_aaa.training.schedule import AttackSettings, attack_settings, eps_fraction, learning_rate
from tests.helpers import HELPERS
from tests.helpers.commands import run
from tests.helpers.small_trainings import TINY, arrays, tiny_train


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_losses_by_hand():
    images = tf.zeros((2, 1, 2, 1))
    reconstruction = tf.reshape(tf.constant([0.1, 0.3, 0.0, 0.4]), (2, 1, 2, 1))
    logits, labels = tf.constant([[0.0, 0.0], [0.0, math.log(3)]]), tf.constant([0, 1])
    ce = np.array([math.log(2), math.log(4 / 3)])
    mse = np.array([(0.01 + 0.09) / 2, 0.16 / 2])
    for name, expected in (("ce", ce), ("mse", mse), ("ce_mse", ce + mse)):
        found = LOSSES[name](images, labels, reconstruction, logits)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    weighted = Loss(0.5, 3.0)(images, labels, reconstruction, logits)
    np.testing.assert_allclose(weighted, 0.5 * ce + 3 * mse, rtol=1e-5)
    swapped = Loss(1.0, 0.0, latent=2.0)(images, labels, None, logits, logits[::-1])
    np.testing.assert_allclose(swapped, ce + 2 * np.array([math.log(4), math.log(2)]), rtol=1e-5)
    with pytest.raises(ValueError, match="weights >= 0"):
        Loss(-1.0, 1.0)
    with pytest.raises(ValueError, match="and ce, mse or gce > 0"):
        Loss(0.0, 0.0, latent=1.0)
    with pytest.raises(ValueError, match="needs the latent's logits"):
        Loss(1.0, 0.0, latent=1.0)(images, labels, None, logits)


def test_temperature_and_guided_complement_entropy_by_hand():
    # Probabilities 1/2, 1/3, 1/6: the wrong ones are 2/3 and 1/3 among themselves.
    logits = tf.math.log(tf.constant([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    labels = tf.constant([0, 2])
    entropy = 2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)
    expected = [0.5**0.2 * entropy / math.log(2), -((1 / 3) ** 0.2)]
    found = Loss(0.0, 0.0, gce=1.0)(None, labels, None, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    half = Loss(0.0, 0.0, gce=0.5, alpha=1.0)(None, labels, None, logits)
    np.testing.assert_allclose(half, [0.25 * entropy / math.log(2), -1 / 6], rtol=1e-5)
    # Divided by two, the logits are those of square roots.
    roots = np.sqrt([3.0, 2.0, 1.0])
    warm = Loss(1.0, 0.0, temperature=2.0)(None, labels, None, logits)
    np.testing.assert_allclose(warm, [-math.log(roots[0] / roots.sum()), math.log(3)], rtol=1e-5)
    sure = tf.constant([[40.0, 0.0, 0.0]])
    least = Loss(0.0, 0.0, gce=1.0)(None, tf.constant([0]), None, sure)
    np.testing.assert_allclose(least, [-1.0], rtol=1e-5)
    with pytest.raises(ValueError, match="temperature: expected more than 0"):
        Loss(1.0, 0.0, temperature=0.0)


def test_schedules():
    linear = Recipe(epochs=1, learning_rate=0.1, schedule="linear", decay_from=0.5)
    rates = [learning_rate(linear, step, 100, []) for step in (0, 49, 75, 100)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.0], atol=1e-12)
    plateau = Recipe(epochs=1, learning_rate=0.1, schedule="plateau", plateau_epochs=2)
    # Better, better, worse, worse (halved), worse, worse (halved again).
    losses = [3.0, 2.0, 2.5, 2.1, 2.2, 2.3]
    rates = [learning_rate(plateau, 0, 100, losses[:n]) for n in range(7)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025])
    warm = dataclasses.replace(linear, eps_warmup_epochs=0.5)
    assert [eps_fraction(warm, step, 100) for step in (0, 24, 49, 99)] == [0.02, 0.5, 1.0, 1.0]
    late = dataclasses.replace(TINY, late_from=0.5, late_attack_steps=9, late_attack_step_size=0.05)
    assert attack_settings(late, 49, 100) == AttackSettings(2, 0.1)
    noisy = dataclasses.replace(late, start_noise=2.0, attack_ball=3.0)
    assert attack_settings(noisy, 49, 100) == AttackSettings(2, 0.1, 2.0, 3.0)
    assert attack_settings(noisy, 50, 100) == AttackSettings(9, 0.05)


@pytest.mark.parametrize(
    "field, value", [("epochs", 0), ("batch_size", -1), ("learning_rate", float("nan"))]
)
def test_recipes_refuse_what_is_out_of_range(field, value):
    with pytest.raises(ValueError, match=f"{field}: expected .* to "):
        dataclasses.replace(TINY, **{field: value})
    with pytest.raises(ValueError, match="attack_steps: expected 0, or attack_step_size > 0"):
        dataclasses.replace(TINY, attack_step_size=0.0)
    with pytest.raises(ValueError, match=r"late_attack_step_size > 0; got 10 .* late_from=0\.5 on"):
        dataclasses.replace(TINY, late_from=0.5)
    with pytest.raises(TypeError, match="epochs: expected a whole number"):
        dataclasses.replace(TINY, epochs=1.5)


def test_weight_decay_takes_its_part_off_the_kernels_alone(tmp_path):
    recipe = dataclasses.replace(TINY, epochs=1, train_examples=16, schedule="constant", shift=1)
    after = []
    for decay in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        model = build("resnet", input_shape=(28, 28, 1), filters=(4, 4, 4, 4), units=1)
        before = [variable.numpy() for variable in model.trainable_variables]
        one_step = dataclasses.replace(recipe, weight_decay=decay)
        tiny_train(ClassifierTask(model), tmp_path / str(decay), one_step)
        after.append([variable.numpy() for variable in model.trainable_variables])
    for variable, start, kept, decayed in zip(
        model.trainable_variables, before, *after, strict=True
    ):
        part = 0.5 * recipe.learning_rate if variable.name == "kernel" else 0.0
        np.testing.assert_allclose(kept - decayed, part * start, atol=1e-7)


@pytest.mark.parametrize(
    "loss, precision",
    [
        *((loss, "float32") for loss in LOSSES),
        pytest.param("ce_mse", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_only_the_autoencoder_changes(loss, precision, threat, tmp_path):
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    autoencoder = build("conv_autoencoder", width=2, dtype=policy)
    # A classifier with batch statistics, which a forward pass in training mode would move.
    classifier = build("resnet", input_shape=(28, 28, 1), filters=(4, 4, 4, 4), units=1)
    before, untrained = arrays(classifier), arrays(autoencoder)
    task = AutoencoderTask(autoencoder, (classifier,), LOSSES[loss], threat)
    progress = tiny_train(task, tmp_path, precision=precision)
    assert_equal(before, arrays(classifier))
    assert all(w.dtype == np.float32 for w in arrays(autoencoder))
    changed = [
        not np.array_equal(a, b) for a, b in zip(untrained, arrays(autoencoder), strict=True)
    ]
    assert all(changed)
    assert progress.step == 8 and len(progress.history) == 2
    assert {"loss", "accuracy", "val_loss", "val_robust_accuracy"} <= progress.history[0].keys()


def test_natural_training_learns(small_classifier, tmp_path):
    recipe = dataclasses.replace(TINY, epochs=3, train_examples=2000, attack_steps=0)
    progress = tiny_train(ClassifierTask(small_classifier), tmp_path, recipe)
    assert progress.history[-1]["val_accuracy"] > 0.6
    assert "val_robust_accuracy" not in progress.history[-1]


def test_adversarial_loss_falls(small_classifier, threat, tmp_path):
    recipe = dataclasses.replace(TINY, epochs=6, train_examples=256, schedule="constant")
    easy = dataclasses.replace(threat, eps=0.05)
    progress = tiny_train(ClassifierTask(small_classifier, threat=easy), tmp_path, recipe)
    assert progress.history[-1]["loss"] < 0.8 * progress.history[0]["loss"]


def test_a_workdir_of_another_run_is_refused(small_classifier, threat, tmp_path):
    """Otherwise the old weights would come back for other settings."""
    task = ClassifierTask(small_classifier, threat=threat)
    one = dataclasses.replace(TINY, epochs=1)
    tiny_train(task, tmp_path, one)
    weights = arrays(small_classifier)
    wide = ClassifierTask(small_classifier, threat=dataclasses.replace(threat, eps=0.1))
    for other, recipe, difference in (
        (wide, one, r"threat\.eps is 0\.3 there and 0\.1 here"),
        (ClassifierTask(small_classifier), one, "threat"),
        (
            task,
            dataclasses.replace(one, learning_rate=1e-2),
            r"recipe\.learning_rate is None there",
        ),
    ):
        with pytest.raises(ValueError, match=difference):
            tiny_train(other, tmp_path, recipe)
    assert tiny_train(task, tmp_path, one).step == 4
    assert_equal(weights, arrays(small_classifier))


def test_an_ensemble_draws_every_classifier(small_autoencoder, threat, tmp_path):
    classifiers = tuple(build("fc", hidden=(8,)) for _ in range(3))
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    task = AutoencoderTask(small_autoencoder, classifiers, LOSSES["ce_mse"], threat)
    tiny_train(task, tmp_path, callbacks=[Spy()])
    assert len(seen) == 8
    with pytest.raises(TypeError, match=r"expected a keras\.Model, got tuple"):
        ClassifierTask(classifiers)


def test_stock_callbacks_work(small_autoencoder, small_classifier, threat, tmp_path):
    task = AutoencoderTask(small_autoencoder, (small_classifier,), LOSSES["ce_mse"], threat)
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "tensorboard", write_graph=False),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=1e9),
    ]
    recipe = dataclasses.replace(TINY, epochs=9)
    progress = tiny_train(task, tmp_path, recipe, callbacks=callbacks)
    assert len(progress.history) == 2  # stopped early
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert list((tmp_path / "tensorboard").rglob("events.*"))
    saved = keras.models.load_model(tmp_path / "2.keras")
    assert_equal(arrays(saved), arrays(small_autoencoder))


def test_nan_stops_at_its_step_and_keeps_the_last_checkpoint(small_classifier, threat, tmp_path):
    recipe = dataclasses.replace(TINY, learning_rate=10.0, schedule="constant", epochs=4)

    class Poison(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 6:
                self.model.set_weights([w * np.nan for w in self.model.get_weights()])

    with pytest.raises(TrainingError, match="not finite at step 6"):
        tiny_train(
            ClassifierTask(small_classifier, threat=threat),
            tmp_path,
            recipe,
            callbacks=[Poison()],
        )
    assert [p.name for p in (tmp_path / "checkpoints").glob("*.index")] == ["ckpt-4.index"]
    reader = tf.train.load_checkpoint(tmp_path / "checkpoints" / "ckpt-4")
    arrays_saved = [
        reader.get_tensor(name)
        for name, dtype in reader.get_variable_to_dtype_map().items()
        if dtype == tf.float32
    ]
    assert len(arrays_saved) > len(small_classifier.weights)
    assert all(np.isfinite(array).all() for array in arrays_saved)


def test_collapse_stops_with_advice(small_classifier, threat, tmp_path):
    # Trained without an attack step and probed with PGD: exactly what a collapse looks like.
    recipe = dataclasses.replace(
        TINY, epochs=8, train_examples=3000, attack_steps=0, validation_steps=10
    )
    with pytest.raises(TrainingError, match="collapsed in epoch"):
        tiny_train(ClassifierTask(small_classifier, threat=threat), tmp_path, recipe)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(threat, tmp_path, caplog):
    task = ClassifierTask(build("fc", hidden=(8,)), threat=threat)
    tiny_train(task, tmp_path)
    expected = arrays(task.trained)
    newest = tmp_path / "checkpoints" / "ckpt-8.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:1000])
    again = ClassifierTask(build("fc", hidden=(8,)), threat=threat)
    with caplog.at_level(logging.WARNING):
        tiny_train(again, tmp_path)
    assert "ckpt-8" in caplog.text and "trying an older" in caplog.text
    assert_equal(expected, arrays(again.trained))
    for file in (tmp_path / "checkpoints").glob("*.data*"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="None of the checkpoints"):
        tiny_train(again, tmp_path)


@pytest.mark.parametrize("options", [(), pytest.param(("--statistics",), marks=pytest.mark.slow)])
def test_two_replicas_train_as_one(options):
    done = run(HELPERS / "replicas.py", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    differences = dict(line.split() for line in done.stdout.splitlines())
    # One replica normalises by the fused kernel, two by Keras' operations, which round otherwise.
    limits = {"weights": 1e-5, "statistics": 1e-4}
    assert len(differences) == 1 + len(options)
    assert all(float(value) < limits[what] for what, value in differences.items()), differences


def test_too_few_examples_for_a_batch(small_classifier, tmp_path):
    with pytest.raises(ValueError, match="batch_size 128 is more than the 64 examples"):
        recipe = dataclasses.replace(TINY, batch_size=128)
        tiny_train(ClassifierTask(small_classifier), tmp_path, recipe)
