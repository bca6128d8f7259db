"""The kNN command on a few images, to its result."""

import json

import pytest

from tests.helpers.commands import run

FEW = ["--loss=ce_mse", "--bank_examples=2000", "--eval_examples=12", "--bpda_examples=4"]
FEW += ["--square_examples=3", "--queries=10", "--precision=float32"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        pytest.param(["--reduce=64"], marks=pytest.mark.slow),
        pytest.param(["--search=approximate"], marks=pytest.mark.slow),
    ],
)
def test_tables_9_and_10(options, tmp_path):
    if options == ["--search=approximate"]:
        pytest.importorskip("faiss")
    command = ["experiments.knn", *FEW, *options, f"--workdir={tmp_path}"]
    done = run(*command)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "result.json").read_text())
    rows = {(m["table"], m["attack"], m["steps"]): m for m in result["measurements"]}
    assert len(rows) == 10
    for table, paper in (("table9_knn_mnist", 0.9821), ("table10_knn_transfer_fc_mnist", 0.9812)):
        assert rows[table, "clean", None]["paper"] == pytest.approx(paper)
        assert rows[table, "clean", None]["accuracy"] > 0.8
        assert rows[table, "pgd", 200]["accuracy"] <= rows[table, "pgd", 40]["accuracy"]
        assert rows[table, "bpda", 40]["examples"] == 4
        assert rows[table, "square", None]["examples"] == 3
    for search in result["searches"]:
        assert search["queries"] == 10_000 and search["seconds"] > 0
        assert search["recall"] == 1 if search["search"] == "exact" else search["recall"] > 0.3
    again = run(*command)
    assert again.returncode == 0, again.stderr[-2000:]
    repeated = json.loads((tmp_path / "result.json").read_text())
    assert repeated["measurements"] == result["measurements"]
    seconds = [[search["seconds"] for search in r["searches"]] for r in (result, repeated)]
    assert seconds[0] == seconds[1]  # kept, not measured again


def test_what_cannot_be_is_said_at_once(tmp_path):
    for flag, message in (
        ("--k=101", "--k: expected 1 to 100, got 101"),
        ("--loss=", "--loss: expected one or more of ce, mse, ce_mse"),
        ("loss", "unexpected argument 'loss'"),
    ):
        done = run("experiments.knn", "--bank_examples=100", flag, f"--workdir={tmp_path}")
        assert done.returncode == 2 and f"error: {message}" in done.stderr
    assert not list(tmp_path.iterdir())
