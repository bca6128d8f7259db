"""What the README shows runs as it stands there."""

import ast
import contextlib
import importlib
import io
import re
from pathlib import Path

import zoo

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_block_protects_a_classifier():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(BLOCKS[0], "README.md", "exec"), {})
    clean, attacked, lowest = printed.getvalue().splitlines()
    assert clean.startswith("clean ") and float(clean.split()[1]) > 0.95
    assert attacked.startswith("PGD-40 ") and 0.8 < float(attacked.split()[1]) < 1
    assert float(lowest) == zoo.info("aaa_mnist_ce_mse").robust_accuracy


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
