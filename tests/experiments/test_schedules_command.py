"""The comparison of training attacks, as a user runs it."""

import json

import pytest

from experiments.estimate import gradients
from experiments.recipes import recipe_for
from experiments.tables import schedule_tables
from keras_aaa.training import Recipe
from tests.helpers import commands


def run(workdir, *arguments):
    return commands.run("experiments.schedules", f"--workdir={workdir}", *arguments)


ATTACKS = ["two_steps", pytest.param("two_steps,n_fgsm", marks=pytest.mark.slow)]


@pytest.mark.parametrize("only", ATTACKS)
def test_compares_attacks_of_the_same_work(only, tmp_path):
    small = ["--recipe=smoke", "--train_examples=32", "--batch_size=16", "--eval_examples=5"]
    done = run(tmp_path, "--dataset=mnist", f"--only={only}", "--epochs=1", *small)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "trained under attacks of the same work" in done.stdout.replace("\n", " ")
    result = json.loads((tmp_path / "result.json").read_text())
    rows = result["schedules"]
    assert [row["attack"] for row in rows] == only.split(",")
    paper = recipe_for("mnist", "adversarial", "paper")
    budget = (paper.attack_steps + 2) * 32  # an epoch's; the update counts as two steps
    for row in rows:
        recipe = Recipe(**row["recipe"])
        assert len(row["history"]) == recipe.epochs > 1
        assert abs(gradients(recipe, 32) - budget) <= gradients(recipe, 32) / recipe.epochs / 2
        assert [found["examples"] for found in row["accuracies"]] == [5, 5]
        assert recipe.attack_ball == (3.0 if row["attack"] == "n_fgsm" else 1.0)


def test_a_collapse_stands_in_the_table():
    recipe = {"attack_steps": 1, "late_attack_steps": 10, "late_from": 1.0, "epochs": 5}
    result = {
        "dataset": "cifar10",
        "model": "cifar10_resnet",
        "threat": {"norm": "linf", "eps": 0.1},
        "examples": 10,
        "schedules": [{"attack": "rs_fgsm", "recipe": recipe, "collapsed": "in epoch 3"}],
    }
    ((title, header, body),) = schedule_tables(result)
    assert "n = 10 validation images" in title
    assert body == [["rs_fgsm, collapsed", "1", "5", "", ""]] and len(header) == 5


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--only=pgb", "--data_dir=nowhere"],
            "Unknown training attack 'pgb'. Did you mean 'pgd'?",
        ),
        (["--attack_steps=3"], "Unknown command line flag 'attack_steps'"),
        (["--eval_examples=5001"], "--eval_examples: expected 0 to 5000"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, arguments, message):
    done = run(tmp_path, "--dataset=mnist", *arguments)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
