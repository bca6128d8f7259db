"""Which models a run takes part with, without training any."""

import dataclasses

import numpy as np
import tensorflow as tf

from experiments.aaa.models import Models, Plan, add_robust
from experiments.aaa.studies import study_for
from experiments.recipes import recipe_for
from experiments.train_run import RunContext, from_zoo, train_in_folder
from keras_aaa.models.surgery import encoder
from keras_aaa.threat_model import threat_for
from keras_aaa.training import Loss


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
    models = Models({})
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
