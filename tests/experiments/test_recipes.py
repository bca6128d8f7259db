"""Recipes and studies: complete for every data set, and the paper's own runs at full size."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from experiments.aaa.studies import STUDIES
from experiments.paper import paper_accuracy
from experiments.recipes import RECIPE_NAMES, RECIPES, AutoencoderOptions, options_for, recipe_for
from experiments.revisiting.roles import ROLES
from experiments.revisiting.study import STUDIES as REVISITING
from experiments.tables import TITLES
from keras_aaa.models import ARCHITECTURES
from keras_aaa.threat_model import threat_for
from keras_aaa.training import LOSSES, AutoencoderTask, Loss, train

SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
# AAA, experimental setup: steps and step size of the training attack.
PAPER_ATTACKS = {"mnist": (40, 0.01), "fashion_mnist": (40, 0.01), "cifar10": (10, 2 / 255)}


def test_every_study_has_every_recipe():
    trainings = ("natural", "adversarial", "aaa")
    revisited = itertools.product(REVISITING, {role.training for role in ROLES.values()})
    assert set(RECIPES) == {*itertools.product(STUDIES, trainings), *revisited}
    for dataset, training in RECIPES:
        names = set(RECIPES[dataset, training])
        assert names == {*RECIPE_NAMES} - {"long"} or (dataset == "cifar10" and "long" in names)
        for name in names:
            attacks = recipe_for(dataset, training, name).attack_steps > 0
            assert attacks == (training in ("adversarial", "aaa"))


@pytest.mark.parametrize("dataset", STUDIES)
def test_studies_name_what_there_is(dataset):
    study = STUDIES[dataset]
    assert study.source in study.classifiers and set(study.baselines) <= set(study.classifiers)
    classifiers = (study.classifiers | study.unseen).values()
    assert {a.architecture for a in (study.autoencoder, *classifiers)} <= set(ARCHITECTURES)
    for name in study.unseen:
        assert study.tables[name].key in TITLES and not study.tables[name].cells
    for name in study.classifiers:
        table = study.tables[name]
        assert table.key in TITLES
        assert paper_accuracy(table.cells, "natural", "clean") > 0.7
        assert paper_accuracy(table.cells, "no such row", "clean") is None


def test_a_study_of_some_classifiers_keeps_the_source():
    some = STUDIES["cifar10"].only(["cifar10_mixer", "cifar10_dnn"])
    assert list(some.classifiers) == ["cifar10_resnet", "cifar10_dnn", "cifar10_mixer"]
    assert list(some.tables) == ["cifar10_dnn", "cifar10_mixer"]
    assert some.baselines == ("cifar10_dnn",)
    assert some.seen() == ["cifar10_resnet", "cifar10_dnn"]


def test_a_reduced_study_says_which_classifiers_are_small():
    whole = STUDIES["cifar10"]
    reduced = whole.reduced()
    assert list(reduced.classifiers) == ["cifar10_resnet", "cifar10_vgg19_small", "cifar10_dnn"]
    assert reduced.classifiers["cifar10_vgg19_small"].sizes == {"width": 16, "dropout": 0.0}
    assert reduced.classifiers["cifar10_resnet"] == whole.classifiers["cifar10_resnet"]
    table = reduced.tables["cifar10_vgg19_small"]
    assert table.key in TITLES and table.key != whole.tables["cifar10_vgg19"].key
    assert table.cells == whole.tables["cifar10_vgg19"].cells
    assert set(reduced.baselines) == set(reduced.classifiers)
    assert STUDIES["mnist"].reduced() == STUDIES["mnist"]


def test_the_recipe_weighs_the_losses():
    options = dataclasses.replace(options_for("cifar10", "fast"), mse_weight=3.0)
    guided = dataclasses.replace(options, latent_weight=0.5)
    assert options.temperature == 4
    assert options.weigh(LOSSES["ce"]) == Loss(1.0, 0.0, temperature=4.0)
    assert options.weigh(LOSSES["mse"]) == LOSSES["mse"]
    assert options.weigh(LOSSES["ce_mse"]) == Loss(1.0, 3.0, temperature=4.0)
    assert guided.weigh(LOSSES["ce"]) == Loss(1.0, 0.0, temperature=4.0, latent=0.5)
    assert guided.weigh(LOSSES["mse"]) == LOSSES["mse"]
    assert options_for("mnist", "paper") == AutoencoderOptions()
    with pytest.raises(ValueError, match="expected 0 with frozen_encoder=1"):
        dataclasses.replace(guided, frozen_encoder=1)


def test_papers_numbers_by_prefix():
    vgg = STUDIES["cifar10"].tables["cifar10_vgg19"].cells
    assert paper_accuracy(vgg, "aaa_ce_mse", "pgd10") == 0.151  # Table 7
    assert paper_accuracy(vgg, "aaa_ensemble", "pgd10") == 0.4474  # Table 8
    assert paper_accuracy(vgg, "adversarial_training", "clean") == 0.7195


@pytest.mark.parametrize(
    "dataset", [pytest.param(d, marks=[pytest.mark.slow] * (d != "mnist")) for d in STUDIES]
)
def test_the_papers_recipe_takes_two_steps_at_full_size(dataset, tmp_path):
    study, recipe = STUDIES[dataset], recipe_for(dataset, "aaa", "paper")
    assert (recipe.attack_steps, recipe.attack_step_size) == PAPER_ATTACKS[dataset]
    assert recipe.start_noise == recipe.attack_ball == 1.0
    random = np.random.default_rng(0)
    images = random.random((4, *SHAPES[dataset]), np.float32)
    labels = random.integers(0, 10, 4)
    autoencoder, source = study.autoencoder, study.classifiers[study.source]
    models = autoencoder.build(), (source.build(),)
    task = AutoencoderTask(*models, LOSSES["ce_mse"], threat_for(dataset))
    before = task.trained.get_weights()
    progress = train(
        task,
        dataclasses.replace(recipe, epochs=1, batch_size=2, validation_steps=1),
        train_data=tf.data.Dataset.from_tensor_slices((images, labels)),
        validation_data=(tf.constant(images), tf.constant(labels)),
        workdir=tmp_path,
    )
    assert progress.step == 2 and np.isfinite(progress.history[0]["loss"])
    changed = zip(before, task.trained.get_weights(), strict=True)
    assert any(not np.array_equal(a, b) for a, b in changed)
