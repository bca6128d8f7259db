"""The Python blocks of README.md and docs/*.md run, or at least import names that exist."""

import ast
import contextlib
import importlib
import io
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_aaa
import zoo
from keras_aaa import data
from keras_aaa.attacks import pgd

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {
    page.name: re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for page in PAGES
}


def run(page: str, index: int, names: dict) -> None:
    """Execute one block of a page; `names` are what it finds, and receive what it defines."""
    exec(compile(BLOCKS[page][index], page, "exec"), names)


def test_the_first_block_of_the_readme_protects_a_classifier():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run("README.md", 0, {})
    clean, attacked, lowest = printed.getvalue().splitlines()
    assert clean.startswith("clean ") and float(clean.split()[1]) > 0.95
    assert attacked.startswith("PGD-40 ") and 0.8 < float(attacked.split()[1]) < 1
    assert float(lowest) == zoo.info("aaa_mnist_ce_mse").robust_accuracy


def test_the_second_block_of_the_readme_trains_an_autoencoder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"my_classifier": zoo.load("mnist_fc"), "keras_aaa": keras_aaa, "data": data}
    run("README.md", 1, names)
    saved = keras.models.load_model("own.keras")
    for old, new in zip(names["own"].get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert list((tmp_path / "runs" / "own" / "checkpoints").iterdir())


@pytest.mark.slow
def test_the_block_of_evaluating_attacks_the_defended_classifier(capsys):
    images, labels = data.first(data.load("mnist", "test"), 4)
    classifier = zoo.load("mnist_fc")
    names = {
        "keras_aaa": keras_aaa,
        "pgd": pgd,
        "my_classifier": classifier,
        "defended": keras_aaa.defend(zoo.load("aaa_mnist_ce_mse"), classifier),
        "images": images,
        "labels": labels,
    }
    run("evaluating.md", 0, names)
    assert names["survives"].shape == (4,) and names["attacked"]["x_adv"].shape == images.shape
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("gradients_are_there ") for line in printed)


def test_every_block_imports_what_there_is():
    blocks = [block for page in BLOCKS.values() for block in page]
    imports = [
        node
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
    ]
    for node in imports:
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")
    assert [len(BLOCKS[page]) for page in ("README.md", "evaluating.md")] == [2, 1]
    assert len(blocks) >= 5 and len(imports) >= 12
