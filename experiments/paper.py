"""The papers' numbers, as fractions."""

import json
from pathlib import Path

_TABLES = json.loads(Path(__file__).with_name("paper_tables.json").read_text())


def paper_accuracy(table: str, row: str, column: str) -> float | None:
    """Return AAA's printed accuracy as a fraction, or None where the paper has no such cell.

    Args:
        table: key of paper_tables.json, "table1_mnist" for example.
        row: "natural", "adversarial_training", "aaa_ce", "aaa_mse" or "aaa_ce_mse".
        column: "clean", "pgd40", ...
    """
    entry = _TABLES["aaa"][table]
    if row not in entry or column not in entry["columns"]:
        return None
    return entry[row][entry["columns"].index(column)] / 100
