"""The models of an AAA run: which it takes, how it starts them, what it estimates."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from experiments.aaa.models import Plan, RunModels, add_robust, attacked, measured
from experiments.aaa.studies import study_for
from experiments.estimate import gradients
from experiments.recipes import recipe_for
from experiments.train_run import RunContext, Trained, from_zoo, train_in_folder
from keras_aaa.models import ModelConfig, defend
from keras_aaa.models.surgery import encoder
from keras_aaa.threat_model import threat_for
from keras_aaa.training import LOSSES, Loss


def test_baselines_that_the_zoo_lacks_are_said_and_left_out(tmp_path, capsys):
    study = dataclasses.replace(study_for("mnist"), baselines=("mnist_madry", "mnist_fc"))
    setting = RunContext("mnist", None, "float32", tf.distribute.get_strategy(), tmp_path, 60.0)
    plan = Plan(
        losses={},
        autoencoder=study.autoencoder,
        variant=(),
        recipes={"adversarial": None},
        baseline=True,
        train_classifiers=(),
        from_zoo=True,
        start_from=None,
        encoder_epochs=0,
    )
    models = RunModels({})
    add_robust(setting, study, models, plan, threat_for("mnist"))
    assert [run.name for run in models.all()] == ["mnist_madry_pgd"]
    assert "mnist_fc_pgd: not in the zoo, left out." in capsys.readouterr().out


def test_behind_a_frozen_encoder_the_decoder_alone_is_trained(tmp_path):
    setting = RunContext("mnist", None, "float32", tf.distribute.get_strategy(), tmp_path, 60.0)
    start, classifier = from_zoo("aaa_mnist_ce_mse"), from_zoo("mnist_madry")
    recipe = recipe_for("mnist", "aaa", "smoke")
    trained = train_in_folder(
        setting,
        "decoder",
        start.config,
        dataclasses.replace(recipe, epochs=1, train_examples=128),
        threat=threat_for("mnist"),
        classifiers=(classifier,),
        start=start,
        frozen_encoder=True,
    )
    kept = len(encoder(start.model).weights)
    before, after = start.model.get_weights(), trained.model.get_weights()
    for old, new in zip(before[:kept], after[:kept], strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(before[kept:], after[kept:], strict=True):
        assert np.abs(old - new).max() > 0


def test_the_latents_layer_begins_as_the_one_given(tmp_path):
    setting = RunContext("mnist", None, "float32", tf.distribute.get_strategy(), tmp_path, 60.0)
    start, classifier = from_zoo("aaa_mnist_ce_mse"), from_zoo("mnist_madry")
    recipe = dataclasses.replace(
        recipe_for("mnist", "aaa", "smoke"), epochs=1, train_examples=128, learning_rate=1e-8
    )
    # Logits of zeros, whose cross-entropy is log 10 for every image.
    layer = (np.zeros((1024, 10), np.float32), np.zeros(10, np.float32))
    losses = [
        train_in_folder(
            setting,
            f"latent_{weight}",
            start.config,
            recipe,
            loss=Loss(1.0, 1.0, latent=weight),
            threat=threat_for("mnist"),
            classifiers=(classifier,),
            start=dataclasses.replace(start, latent_layer=layer),
        ).record["history"][0]["loss"]
        for weight in (0.0, 2.0)
    ]
    np.testing.assert_allclose(losses[1] - losses[0], 2 * np.log(10), rtol=1e-4)


TRAININGS = ("natural", "adversarial", "aaa")
SIZES = {"latent": 8, "width": 4}


def test_a_runs_gradients_are_its_attacks_and_its_updates():
    recipe = dataclasses.replace(recipe_for("mnist", "aaa", "smoke"), train_examples=0, epochs=3)
    assert (recipe.batch_size, recipe.attack_steps) == (64, 3)
    # Seven whole batches of 450 images; an update counts for two gradients.
    assert gradients(recipe, 450) == 3 * 7 * 64 * (3 + 2)


@pytest.mark.parametrize("from_zoo", [False, True])
def test_what_is_trained_under_attack_is_what_is_estimated(from_zoo):
    study = study_for("mnist")
    built = study.classifiers["mnist_madry"]
    models = RunModels({"mnist_madry": Trained("mnist_madry", built.build(), built, None)})
    recipes = {training: recipe_for("mnist", training, "smoke") for training in TRAININGS}
    autoencoder = ModelConfig("conv_dense_autoencoder", SIZES)
    plan = Plan(
        {name: LOSSES[name] for name in ("ce", "mse")},
        autoencoder,
        variant=(),
        recipes=recipes,
        baseline=True,
        train_classifiers=(),
        from_zoo=from_zoo,
        start_from=None,
        encoder_epochs=5,
    )
    classifier = models.classifiers["mnist_madry"].model
    defence = defend(autoencoder.build(input_shape=(28, 28, 1)), classifier)
    on_tables = dataclasses.replace(study, tables={"mnist_madry": study.tables["mnist_madry"]})
    assert measured(on_tables, models, plan, defence, [((40,), 50), ((40, 200), 10)]) == [
        (classifier, 40 * 50 + (40 * 50 + 200 * 10)),  # the natural one, and its baseline whole
        (defence, 2 * (40 * 50 + 200 * 10)),
    ]
    found = attacked(study, models, plan, defence)
    if from_zoo:
        assert not found
        return
    (first, twice), (encoder, once), (baseline, last) = found
    assert first is defence and twice == [recipes["aaa"]] * 2
    assert encoder.name == "encoder_classifier" and once[0].epochs == 5
    assert encoder.input_shape == defence.input_shape
    assert encoder.output_shape == defence.output_shape
    assert encoder.count_params() < defence.count_params()
    assert baseline is classifier and last == [recipes["adversarial"]]
