"""experiments.evaluate as a user runs it, on a .keras file, a SavedModel and an .npz."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from experiments.attack_specs import parse
from keras_aaa.evaluation.corruptions import CORRUPTIONS
from keras_aaa.export import export_classifier
from keras_aaa.models import build
from keras_aaa.threat_model import ThreatModel


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """A fitted classifier as .keras and as SavedModel, and its examples as .npz."""
    folder = tmp_path_factory.mktemp("evaluate")
    keras.utils.set_random_seed(0)
    model = build("fc", hidden=(32,))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*digits, epochs=40, verbose=0)
    model.save(folder / "mine.keras")
    export_classifier(model, folder / "saved")
    np.savez(folder / "digits.npz", images=digits[0], labels=digits[1])
    return folder


def evaluate(files, workdir, *arguments):
    command = [sys.executable, "-m", "experiments.evaluate", f"--workdir={workdir}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("kind", ["mine.keras", "saved"])
def test_several_attacks_on_a_file(files, tmp_path, kind):
    done = evaluate(
        files,
        tmp_path / "new",
        f"--model={files / kind}",
        f"--npz={files / 'digits.npz'}",
        "--norm=linf",
        "--eps=0.1",
        "--attack=clean,fgsm,pgd:steps=5,square:queries=20,autoattack:steps=5:targets=2:queries=20",
        "--max_examples=40",
        "--sanity",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "new" / "result.json").read_text())
    accuracies = {row["row"]: row["accuracy"] for row in result["measurements"]}
    assert accuracies["clean"] == 1.0
    assert accuracies["worst case"] <= min(accuracies.values())
    assert accuracies["autoattack"] <= accuracies["autoattack apgd_ce"] < 1.0
    assert all(row["examples"] == 40 for row in result["measurements"])
    assert len(result["sanity"]) == 11
    assert (tmp_path / "new" / "fallen.png").exists() and (tmp_path / "new" / "eps.png").exists()
    with np.load(tmp_path / "new" / "x_adv.npz") as stored:
        assert np.abs(stored["x_adv"] - stored["images"]).max() <= 0.1 + 1e-6
    assert "Traceback" not in done.stderr
    assert "worst case" in done.stdout


def test_corruptions_with_the_defence_and_without(files, tmp_path):
    done = evaluate(
        files,
        tmp_path / "new",
        f"--model={files / 'mine.keras'}",
        "--defend=aaa_mnist_ce_mse",
        "--attack=clean",
        "--max_examples=20",
        "--corruptions",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "new" / "result.json").read_text())["measurements"]
    by_subject = {
        subject: {row["row"] for row in rows if row["defence"] == subject}
        for subject in ("aaa_mnist_ce_mse before mine", "mine alone")
    }
    assert by_subject["aaa_mnist_ce_mse before mine"] == {*CORRUPTIONS, "clean"}
    assert by_subject["mine alone"] == {*CORRUPTIONS}
    assert all(row["examples"] == 100 for row in rows if row["attack"] == "corruption")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model=nothing_here", "--attack=pgd"], "Unknown model 'nothing_here'"),
        (
            ["--model={}/mine.keras", "--attack=pdg", "--eps=0.1", "--norm=linf"],
            "Did you mean 'pgd'",
        ),
        (["--model={}/mine.keras", "--attack=pgd"], "--norm, --eps: expected both"),
        (["--model={}/mine.keras", "--eps=0.1", "--norm=linf"], "--dataset: expected"),
        (["--model={}/mine.keras", "--eps=-1", "--norm=linf"], "eps"),
    ],
)
def test_bad_flags_are_one_line(files, tmp_path, arguments, message):
    done = evaluate(files, tmp_path, *(a.format(files) for a in arguments))
    assert done.returncode != 0
    assert message in done.stderr and "Traceback" not in done.stderr


def test_attacks_are_parsed_with_their_defaults():
    threat = ThreatModel("linf", 0.3)
    assert parse("pgd:steps=10", threat).parameters == {"steps": 10, "step_size": 0.075}
    assert parse("autoattack:queries=7", threat).parameters == {"queries": 7}
    assert parse("clean", threat).parameters == {}
    with pytest.raises(ValueError, match="Unknown parameter of pgd 'stepps'"):
        parse("pgd:stepps=1", threat)
    with pytest.raises(ValueError, match="steps expects int, got 'ten'"):
        parse("pgd:steps=ten", threat)
