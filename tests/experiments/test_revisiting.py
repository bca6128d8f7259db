"""The Revisiting study: its data, its cells, its tables, and the command."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from experiments.paper import revisiting_value
from experiments.recipes import recipe_for
from experiments.revisiting import measured
from experiments.revisiting.models import SeededModels
from experiments.revisiting.roles import DEFENCES, ROLES
from experiments.revisiting.study import STUDIES, Attack
from experiments.revisiting.tables import tables
from keras_aaa.evaluation import correct
from keras_aaa.hashing import weights_hash
from keras_aaa.models import ARCHITECTURES, build
from keras_aaa.threat_model import threat_for
from keras_aaa.training import AutoencoderTask, ClassifierTask, train
from tests.helpers.commands import run


@pytest.mark.parametrize("dataset", STUDIES)
def test_studies_name_what_there_is_and_the_papers_numbers(dataset):
    study = STUDIES[dataset]
    assert {a.architecture for a in study.architectures.values()} <= set(ARCHITECTURES)
    numbers = []
    for table in study.tables.values():
        assert {*table.columns, *table.columns.values()} <= set(DEFENCES)
        for attack, row in table.attacks.items():
            for column in table.columns:
                number = revisiting_value(table.paper, row, table.paper_columns[column])
                assert (number is None) == (row == ""), (table.title, attack, column)
                numbers.append(number)
    assert 98.33 in numbers or 88.32 in numbers  # Table 1, AE-C, clean
    for figure in study.figures.values():
        for _, _, lines in figure.panels.values():
            assert {*lines, *lines.values()} <= set(DEFENCES)
    assert len(study.figures["fig2"].panels) == 8 and len(study.figures["fig4"].panels) == 4
    used = {role for pair in DEFENCES.values() for role in pair if role}
    assert used == set(ROLES) and set(study.zoo) <= used


def test_small_networks_are_smaller_and_named_so():
    study = STUDIES["cifar10"]
    small = study.reduced()
    for part in study.architectures:
        full, less = (
            each.architectures[part].build(input_shape=(32, 32, 3)).count_params()
            for each in (study, small)
        )
        assert (less < full) == (part in study.small), part
    assert small.zoo == study.zoo | {"classifier": "cifar10_vgg16_small"}
    assert small.reduced() == small and STUDIES["mnist"].reduced() == STUDIES["mnist"]


def test_the_gradient_amplitude_of_a_known_classifier(tmp_path):
    """softmax(w x, 0): both probabilities have the slope p (1 - p) w, with opposite signs."""
    inputs = keras.Input((1, 1, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    model.set_weights([np.array([[3.0, 0.0]], np.float32), np.zeros(2, np.float32)])
    images = np.array([0.0, 0.5], np.float32).reshape(2, 1, 1, 1)
    p = 1 / (1 + np.exp(-3 * images.ravel()))
    found = measured.gradient_amplitude(model, images, tmp_path)["value"]
    assert found == pytest.approx(np.mean(p * (1 - p) * 3.0), rel=1e-5)


def test_the_first_seeds_models_may_be_those_of_the_zoo(digits):
    # No setting and no recipes: it could train nothing.
    models = SeededModels(None, STUDIES["mnist"], {}, threat_for("mnist"), from_zoo=True)
    images, labels = digits[0][:50], digits[1][:50]
    for name in ("C", "AE-C", "lambda 1"):
        assert correct(models.defence(name, 0), images, labels).sum() >= 48
    assert weights_hash(models.defence("C", 0)) == weights_hash(zoo.load("mnist_lenet5"))
    assert models.was_asked_for("autoencoder", 0) and not models.was_trained("autoencoder", 0)


def test_cells_are_crafted_on_one_model_scored_on_another_and_kept(
    small_classifier, digits, tmp_path
):
    images, labels = (a[:16] for a in digits)
    labels = np.argmax(small_classifier(images), axis=-1)  # right on all, before an attack
    other = build("fc", hidden=(8,))
    attack = Attack("pgd", 80)
    white = measured.measured(attack, small_classifier, small_classifier, images, labels, tmp_path)
    black = measured.measured(attack, small_classifier, other, images, labels, tmp_path)
    assert white["correct"] < black["correct"] <= 16
    assert 0 < white["mean_l2"] <= 28 * 80 / 255
    stands = measured.survivors(attack, small_classifier, other, images, labels, tmp_path)
    assert stands.sum() == black["correct"]
    clean = measured.measured(
        Attack("clean"), small_classifier, small_classifier, images, labels, tmp_path
    )
    assert clean["correct"] == 16 and clean["mean_l2"] == 0
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 3
    times = [file.stat().st_mtime_ns for file in files]
    again = measured.measured(attack, small_classifier, other, images, labels, tmp_path)
    assert again == black and [file.stat().st_mtime_ns for file in files] == times
    crafted = list(tmp_path.glob("*/*.npy"))
    measured.measured(attack, other, small_classifier, images, labels, tmp_path)
    assert list(tmp_path.glob("*/*.npy")) == crafted  # both targets see the same images
    half = measured.measured(attack, small_classifier, other, images, labels, tmp_path, "bfloat16")
    assert half["mean_l2"] != black["mean_l2"]  # crafted anew
    measured.forget_images(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_attacks_without_a_bound_fool_a_plain_classifier(small_classifier, digits, tmp_path):
    images = digits[0][:4]
    labels = np.argmax(small_classifier(images), axis=-1)
    for name in ("carlini_wagner", "deepfool"):
        cell = measured.measured(
            Attack(name), small_classifier, small_classifier, images, labels, tmp_path
        )
        assert cell["correct"] == 0 and cell["mean_l2"] > 0
        half = measured.measured(
            Attack(name), small_classifier, small_classifier, images, labels, tmp_path, "bfloat16"
        )
        assert half == cell  # they craft in float32 all the same


def test_tables_give_mean_deviation_and_the_papers_number():
    cell = {"table": "T", "row": "FGSM", "column": "C", "examples": 1000}
    cells = [
        cell | {"values": [0.5, 0.7], "unit": "fraction", "paper": 0.6994},
        cell | {"column": "AE-C", "values": [0.5, 0.5], "unit": "fraction", "paper": None},
        cell
        | {"table": "D", "row": "DeepFool", "values": [0.0, 0.0], "unit": "fraction"}
        | {"paper": 0.0088, "measured": [{"mean_l2": 1.0}, {"mean_l2": 2.0}]},
        # The same attack on fewer examples is a row of its own.
        cell | {"values": [0.4, 0.4], "unit": "fraction", "paper": None, "examples": 10},
        cell | {"table": "G", "values": [1e-3, 3e-3], "unit": "absolute", "paper": 8.9e-4},
    ]
    sanity = {
        "examples": 200,
        "evidence": {
            "C": [{"check": "noise_never_wins", "warning": None, "figures": {"share": 0.0}}],
            "AE-C": [
                {"check": "noise_never_wins", "warning": "Noise won.", "figures": {"share": 0.5}},
                {"check": "black_box_never_wins", "warning": None, "figures": {}},
            ],
        },
    }
    panels = {"FGSM, white-box": {"C": [[0.7, 0.8], [0.5, 0.5]], "AE-C": [[1.0, 1.0], [0.8, 0.95]]}}
    figure = {"title": "F", "seeds": 2, "examples": 500, "sweep": [5, 10], "panels": panels}
    result = {
        "revisiting": cells,
        "figures": {"fig4": figure},
        "threat": {"eps": 20 / 255},
        "sanity": sanity,
    }
    first, far, second, lines, signs = tables(result)
    assert first == (
        "T; mean ± deviation of 2 seeds; in brackets the paper's",
        ["", "n", "C", "AE-C"],
        [
            ["FGSM", "1,000", "60.00 ± 14.14 (69.94)", "50.00 ± 0.00"],
            ["FGSM", "10", "40.00 ± 0.00", ""],
        ],
    )
    assert far[0].endswith("; l2: the mean length of the perturbations, crafted in float32")
    assert far[2] == [["DeepFool", "1,000", "0.00 ± 0.00 (0.88), l2 1.50"]]
    assert second[2] == [["FGSM", "1,000", "0.002 ± 0.001 (0.00089)"]]
    assert lines == (
        "F; mean ± deviation of 2 seeds, n = 500; eps of 255",
        ["", "", "eps 5", "eps 10"],
        [
            ["FGSM, white-box", "C", "75.0 ± 7.1", "50.0 ± 0.0"],
            ["FGSM, white-box", "AE-C", "100.0 ± 0.0", "87.5 ± 10.6"],
        ],
    )
    assert "eps 20 of 255, first seed, n = 200" in signs[0] and signs[1] == ["", "C", "AE-C"]
    assert signs[2] == [
        ["noise never wins", "nothing found", "Noise won."],
        ["black box never wins", "", "not looked at"],
    ]
    assert len(list(tables(result | {"sanity": {}, "figures": {}}))) == 3
    alone = cell | {"values": [0.5], "unit": "fraction", "paper": 0.6994}
    ((title, _, body),) = tables({"revisiting": [alone], "figures": {}, "sanity": {}})
    assert "; one seed;" in title and body == [["FGSM", "1,000", "50.00 (69.94)"]]


def test_the_attacks_flags_leave_plain_models_alone(tmp_path):
    small = ["--recipe=smoke", "--epochs=1", "--train_examples=64", "--seeds=1"]
    small += ["--only=table4", "--eval_examples=5", "--attack_steps=2"]
    done = run("experiments.revisiting", f"--workdir={tmp_path}", *small)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("classifier_seed0", "autoencoder_seed0"):
        identity = json.loads((tmp_path / name / "run.json").read_text())["identity"]
        assert identity["threat"] is None and identity["recipe"]["attack_steps"] == 0
    assert len(json.loads((tmp_path / "table4.json").read_text())["revisiting"]) == 2


@pytest.mark.slow
def test_the_command_trains_attacks_and_saves(tmp_path):
    small = ["--recipe=smoke", "--epochs=1", "--seeds=2", "--eval_examples=20"]
    small += ["--only=table2b,table4"]
    done = run("experiments.revisiting", f"--workdir={tmp_path}", *small)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "table2b_table4.json").read_text())
    assert len(result["revisiting"]) == 4 * 2 + 2
    for cell in result["revisiting"]:
        assert len(cell["values"]) == 2 and cell["examples"] == 20
    assert "(96.24)" in done.stdout and "(0.0043)" in done.stdout


@pytest.mark.slow
def test_all_tables_and_figures_of_a_small_run(tmp_path):
    small = ["--recipe=smoke", "--seeds=2", "--eval_examples=40", "--costly_examples=10"]
    small += ["--figure_examples=20"]
    done = run("experiments.revisiting", f"--workdir={tmp_path}", *small, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert len({cell["table"] for cell in result["revisiting"]}) == 6
    assert (tmp_path / "fig2.png").exists() and (tmp_path / "fig4.png").exists()
    assert {row["model"] for row in result["zoo"]} == set(STUDIES["mnist"].zoo.values())
    assert set(result["sanity"]["evidence"]) == {"C", "AE-C"}
    assert result["sanity"]["examples"] == 40
    looked_at = {check["check"]: check["figures"] for check in result["sanity"]["evidence"]["C"]}
    assert looked_at["black_box_never_wins"]
    fig4 = result["figures"]["fig4"]
    assert fig4["sweep"][0] == 0 and len(fig4["panels"]["FGSM, black-box"]["C"]) == 8
    white = fig4["panels"]["FGSM, white-box"]["C"]
    assert white[0] == fig4["panels"]["PGD-40, white-box"]["C"][0]  # without an attack
    assert {path.name for path in (tmp_path / "zoo").iterdir()} == set(
        STUDIES["mnist"].zoo.values()
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only=table9"], "Unknown table or figure on mnist 'table9'"),
        (["--seeds=1"], "--seeds: expected 2 or more for table2a, table2b, fig2, fig4"),
        (["--seed=1"], "Unknown command line flag 'seed'"),
        (
            ["--eval_examples=20", "--costly_examples=21"],
            "--costly_examples: expected at most the 20",
        ),
        (["--card_examples=10001"], "--card_examples: expected 0 to 10000"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, arguments, message):
    done = run("experiments.revisiting", f"--workdir={tmp_path}", *arguments)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr


LARGE = [pytest.param(part, marks=pytest.mark.slow) for part in ("classifier", "substitute")]


@pytest.mark.parametrize("part", ["autoencoder", *LARGE])
def test_the_papers_size_of_cifar10_takes_two_steps(part, tmp_path):
    architectures = STUDIES["cifar10"].architectures
    random = np.random.default_rng(0)
    images, labels = random.random((4, 32, 32, 3), np.float32), random.integers(0, 10, 4)
    model = architectures[part].build(input_shape=(32, 32, 3))
    role = ROLES[part]
    if part == "autoencoder":
        task = AutoencoderTask(model, (build("fc", input_shape=(32, 32, 3)),), role.loss)
    else:
        task = ClassifierTask(model, role.loss)
    recipe = recipe_for("cifar10", role.training, "paper")
    progress = train(
        task,
        dataclasses.replace(recipe, epochs=1, batch_size=2),
        train_data=tf.data.Dataset.from_tensor_slices((images, labels)),
        validation_data=(tf.constant(images), tf.constant(labels)),
        workdir=tmp_path,
    )
    assert progress.step == 2 and np.isfinite(progress.history[0]["loss"])
