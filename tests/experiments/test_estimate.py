"""What a run will cost, before it begins."""

import dataclasses

import pytest

from experiments.aaa.models import Models, Plan, attacked, measured
from experiments.aaa.studies import study_for
from experiments.estimate import gradients
from experiments.recipes import recipe_for
from experiments.train_run import Trained
from keras_aaa.models import ModelConfig, defend
from keras_aaa.training import LOSSES

JOBS = ("natural", "adversarial", "aaa")
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
    models = Models({"mnist_madry": Trained("mnist_madry", built.build(), built, None)})
    recipes = {job: recipe_for("mnist", job, "smoke") for job in JOBS}
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
    behind = models.classifiers["mnist_madry"].model
    defence = defend(autoencoder.build(input_shape=(28, 28, 1)), behind)
    on_tables = dataclasses.replace(study, tables={"mnist_madry": study.tables["mnist_madry"]})
    assert measured(on_tables, models, plan, defence, [((40,), 50), ((40, 200), 10)]) == [
        (behind, 40 * 50 + (40 * 50 + 200 * 10)),  # the natural one, and its baseline whole
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
    assert baseline is behind and last == [recipes["adversarial"]]
