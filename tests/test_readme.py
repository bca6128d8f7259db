"""What the README shows runs as it stands there."""

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

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_block_protects_a_classifier():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(BLOCKS[0], "README.md", "exec"), {})
    clean, attacked, lowest = printed.getvalue().splitlines()
    assert clean.startswith("clean ") and float(clean.split()[1]) > 0.95
    assert attacked.startswith("PGD-40 ") and 0.8 < float(attacked.split()[1]) < 1
    assert float(lowest) == zoo.info("aaa_mnist_ce_mse").robust_accuracy


def test_the_second_block_trains_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"my_classifier": zoo.load("mnist_fc"), "keras_aaa": keras_aaa, "data": data}
    exec(compile(BLOCKS[1], "README.md", "exec"), names)
    saved = keras.models.load_model("own.keras")
    for old, new in zip(names["own"].get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert list((tmp_path / "runs" / "own" / "checkpoints").iterdir())


@pytest.mark.slow
def test_the_third_block_attacks_what_the_first_made(capsys):
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
    exec(compile(BLOCKS[2], "README.md", "exec"), names)
    assert names["standing"].shape == (4,) and names["found"]["x_adv"].shape == images.shape
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("gradients_are_there ") for line in printed)


def test_every_block_imports_what_there_is():
    imports = [
        node
        for block in BLOCKS
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
    ]
    for node in imports:
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")
    assert len(BLOCKS) >= 3 and len(imports) >= 8
