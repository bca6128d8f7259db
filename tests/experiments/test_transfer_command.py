"""The transfer command on a few images, to its matrix."""

import json

import pytest

from keras_aaa.models import build
from tests.helpers.commands import run

NAMES = ["mnist_fc", "mnist_lenet5"]


def test_the_matrix_of_two_classifiers_and_a_file(tmp_path):
    build("fc", hidden=(8,)).save(tmp_path / "mine.keras")
    names = [*NAMES, str(tmp_path / "mine.keras")]
    command = [
        "experiments.transfer",
        f"--models={','.join(names)}",
        "--attack=transfer_pgd:steps=3:kernel=3",
        "--eps=0.15",
        "--eval_examples=40",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = run(*command)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    cells = {(m["row"], m["defence"]): m for m in result["measurements"]}
    assert len(result["measurements"]) == 12
    assert cells.keys() == {(row, column) for row in ("clean", *names) for column in names}
    for name in NAMES:
        (other,) = {*NAMES} - {name}
        assert cells["clean", name]["accuracy"] > 0.9
        crafted_by = {row: cells[row, name]["accuracy"] for row in ("clean", name, other)}
        assert crafted_by[name] < crafted_by[other] < crafted_by["clean"]
        assert cells[name, name]["steps"] == 3
        assert cells[name, name]["step_size"] == pytest.approx(0.05)
    assert "Accuracy on images that the row's model crafted" in done.stdout
    assert len(list((tmp_path / "run" / "cached").iterdir())) == 12

    # The next run crafts nothing for cells that are cached.
    path = next((tmp_path / "run" / "cached").glob("mnist_fc_on_mnist_lenet5_*"))
    stored = json.loads(path.read_text())
    stored["measured"]["correct"] = 0
    path.write_text(json.dumps(stored))
    again = run(*command)
    assert again.returncode == 0, again.stderr[-2000:]
    repeated = json.loads((tmp_path / "run" / "result.json").read_text())["measurements"]
    changed = [m for m in repeated if m not in result["measurements"]]
    assert [(m["row"], m["defence"], m["accuracy"]) for m in changed] == [(*NAMES, 0.0)]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--models=mnist_fc,mnist_fc", "--models: expected each once"),
        ("--models=cifar10_dnn", "expected models for mnist, cifar10_dnn is for cifar10"),
        ("--attack=autoattack", "--attack: expected one that crafts images by itself"),
        ("--attack=clean", "--attack: expected one that crafts images by itself"),
        ("--models=none.h5", "--model: there is no file none.h5"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(flag, message, tmp_path):
    done = run("experiments.transfer", flag, "--eval_examples=5", cwd=tmp_path)
    assert done.returncode == 2 and message in done.complaint
    assert len(done.complaint.splitlines()) == 1
