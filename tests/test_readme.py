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
from keras_aaa.models import ARCHITECTURES, build

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


def after_the_first_block(examples: int) -> dict:
    """What the first block of the README defines, with fewer examples."""
    images, labels = data.first(data.load("mnist", "test"), examples)
    classifier = zoo.load("mnist_fc")
    return {
        "keras_aaa": keras_aaa,
        "pgd": pgd,
        "my_classifier": classifier,
        "defended": keras_aaa.defend(zoo.load("aaa_mnist_ce_mse"), classifier),
        "images": images,
        "labels": labels,
    }


def test_the_first_block_of_evaluating_measures_with_an_interval(capsys):
    names = after_the_first_block(8)
    run("evaluating.md", 0, names)
    measured = names["measured"]
    assert measured.examples == 8 and measured.correct == names["survives"].sum()
    accuracy, rest = capsys.readouterr().out.split(" of 8, 95 % interval ")
    assert accuracy == f"{measured.accuracy:.1%}" and rest.count("%") == 2


@pytest.mark.slow
def test_the_second_block_of_evaluating_attacks_the_defended_classifier(capsys):
    names = after_the_first_block(4)
    images = names["images"]
    run("evaluating.md", 1, names)
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
    assert [len(BLOCKS[page]) for page in ("README.md", "evaluating.md")] == [2, 2]
    assert len(blocks) >= 5 and len(imports) >= 12


def test_the_readme_names_the_image_sizes_of_every_architecture():
    table = dict(re.findall(r"^\| (`.*`) \| (.*) \|$", PAGES[0].read_text(), re.MULTILINE))
    rows = {
        name: sizes
        for names, sizes in table.items()
        for name in re.findall(r"`(\w+)`", names)
        if name in ARCHITECTURES
    }
    assert set(rows) == set(ARCHITECTURES)
    for name, sizes in rows.items():
        if sizes == "any":
            assert build(name, input_shape=(37, 23, 1)).input_shape == (None, 37, 23, 1)
        else:
            number = 2 if sizes.startswith("even") else int(sizes.split()[-1])
            with pytest.raises(ValueError, match=f"divisible by {number},"):
                build(name, input_shape=(37, 23, 1))
