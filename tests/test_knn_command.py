"""The kNN command on a few images, to its result."""

import json

import pytest
from absl.testing import flagsaver

from experiments import knn


@pytest.mark.parametrize("options", [{}, {"reduce": 64}, {"search": "approximate"}])
def test_tables_9_and_10(options, tmp_path):
    if options.get("search") == "approximate":
        pytest.importorskip("faiss")
    settings = {"loss": ["ce_mse"], "bank_examples": 2000, "eval_examples": 24}
    settings |= {"bpda_examples": 12, "square_examples": 6, "queries": 10}
    settings |= {"dataset": "mnist", "workdir": str(tmp_path), "precision": "float32"}
    with flagsaver.flagsaver(**settings, **options):
        knn.main([])
    result = json.loads((tmp_path / "result.json").read_text())
    rows = {(m["table"], m["attack"], m["steps"]): m for m in result["measurements"]}
    assert len(rows) == 10
    for table, paper in (("table9_knn_mnist", 0.9821), ("table10_knn_transfer_fc_mnist", 0.9812)):
        assert rows[table, "clean", None]["paper"] == pytest.approx(paper)
        assert rows[table, "clean", None]["accuracy"] > 0.8
        assert rows[table, "pgd", 200]["accuracy"] <= rows[table, "pgd", 40]["accuracy"]
        assert rows[table, "bpda", 40]["examples"] == 12
        assert rows[table, "square", None]["examples"] == 6
    share = result["recall"]["aaa_mnist_ce_mse"]
    assert share == 1 if not options else share > 0.3
