"""The black-box command on a few images, to its result and figure."""

import json

import pytest
from absl.testing import flagsaver

from experiments import black_box


def test_it_trains_by_queries(tmp_path):
    settings = {"recipe": "smoke", "queries": ["4"], "start_from": "aaa_mnist_ce_mse"}
    settings |= {"train_examples": 64, "epochs": 1, "batch_size": 16, "validation_examples": 16}
    settings |= {"eval_examples": 20, "attack_steps": 1, "workdir": str(tmp_path)}
    with flagsaver.flagsaver(**settings):
        black_box.main([])
    result = json.loads((tmp_path / "result.json").read_text())
    robust = {m["row"]: m["accuracy"] for m in result["measurements"] if m["attack"] == "pgd"}
    assert robust.keys() == {"undefended", "transfer", "queries_4", "white_box"}
    assert robust["undefended"] < 0.2 < robust["transfer"]
    assert result["queries"]["queries_4"] > 64 * 4
    assert (tmp_path / "queries.png").stat().st_size > 1000


def test_queries_must_be_even(tmp_path):
    for text in ("3", "0", "many"):
        with (
            flagsaver.flagsaver(queries=[text], workdir=str(tmp_path)),
            pytest.raises((ValueError, TypeError), match="--queries: expected"),
        ):
            black_box.main([])
