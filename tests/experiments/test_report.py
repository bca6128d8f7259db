"""experiments.report: what of the results reaches the pages."""

import json

import pytest

from experiments.cli import COMMANDS
from experiments.report import markdown, rewritten, with_commands
from experiments.tables import tables
from keras_aaa.results import Measurement


def evaluation(name, accuracy):
    """A result of experiments.evaluate on one model."""
    row = {"table": "evaluation", "attack": "autoattack", "steps": None, "paper": None}
    counted = {"accuracy": accuracy, "correct": int(1000 * accuracy), "examples": 1000}
    return {
        "command": f"python -m experiments.evaluate --model={name}",
        "threat": {"norm": "linf", "eps": 0.3},
        "precision": {"crafting": "bfloat16", "scoring": "float32"},
        "measurements": [
            row
            | counted
            | {"row": "autoattack", "defence": name, "interval95": [accuracy - 0.01, accuracy]}
        ],
        "provenance": {"machine": {"cores": 2, "processor": "a processor"}},
    }


def test_evaluations_of_several_models_share_a_table(tmp_path):
    for name, accuracy in (("one", 0.9), ("two", 0.5)):
        (tmp_path / f"{name}.json").write_text(json.dumps(evaluation(name, accuracy)))
    other = evaluation("three", 0.7) | {"threat": {"norm": "linf", "eps": 0.1}}
    (tmp_path / "three.json").write_text(json.dumps(other))
    text = markdown(sorted(tmp_path.iterdir()))
    assert "|  | one | two |" in text and "| autoattack | 90.00 | 50.00 |" in text
    assert "`python -m experiments.evaluate --model=NAME` with NAME `one`, `two`, 2 cores" in text
    assert "|  | three |" in text and text.count("n = 1,000") == 2


def test_each_result_stands_in_the_block_that_names_it(tmp_path):
    for name in ("aaa_one", "knn_two"):
        (tmp_path / f"{name}.json").write_text(json.dumps(evaluation(name, 0.9)))
    pages = [
        "before\n<!-- results: aaa_* -->\nold\n<!-- results: end -->\nafter",
        "<!-- results: knn_two other -->\n<!-- results: end -->",
    ]
    first, second = rewritten(pages, tmp_path)
    assert first.startswith("before\n") and first.endswith("\nafter") and "old" not in first
    assert "--model=aaa_one" in first and "--model=knn_two" not in first
    assert "--model=knn_two" in second
    assert rewritten([first, second], tmp_path) == [first, second]
    with pytest.raises(ValueError, match="knn_two: expected in one block"):
        rewritten(pages[:1], tmp_path)
    with pytest.raises(ValueError, match=r"aaa_one: .* found in 2"):
        rewritten([*pages, pages[0]], tmp_path)


def test_a_reduced_bank_is_named():
    counted = {"accuracy": 0.5, "correct": 5, "examples": 10, "interval95": [0.2, 0.8]}
    row = {"table": "table9_knn_mnist", "row": "aaa_ce", "attack": "clean", "steps": None}
    result = {"threat": {"eps": 0.3}, "measurements": [{**row, **counted, "paper": None}]}
    (whole, _, _), (reduced, _, _) = (
        next(tables(result | {"components": components})) for components in (0, 128)
    )
    assert "(AAA Table 9); eps" in whole
    assert "(AAA Table 9), a bank of 128 principal components; eps" in reduced


def test_the_interval_of_cells_on_fewer_examples_is_stated_apart():
    row = {"table": "table1_mnist", "row": "aaa_ce", "attack": "pgd", "paper": None}
    many = {"steps": 40} | Measurement(5000, 10_000).counts()
    few = {"steps": 200} | Measurement(400, 1000).counts()
    result = {"threat": {"eps": 0.3}, "measurements": [row | many, row | few]}
    ((title, _, body),) = tables(result)
    assert "n = 10,000, 95 % interval at most ±1.0 points (±3.1 where a cell" in title
    assert body == [["AAA ce", "50.00", "40.00, n = 1,000"]]
    ((title, _, _),) = tables(result | {"measurements": [row | many]})
    assert title.endswith("at most ±1.0 points")


def test_the_table_of_commands_stands_between_its_markers():
    page = "before\n<!-- commands -->\nold\n<!-- commands: end -->\nafter"
    fresh = with_commands(page)
    assert "old" not in fresh and fresh.startswith("before\n") and fresh.endswith("after")
    assert fresh.count("\n| `") == len(COMMANDS) and with_commands(fresh) == fresh
