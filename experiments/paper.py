"""The numbers that the papers print."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TABLES = json.loads(Path(__file__).with_name("paper_tables.json").read_text())


@dataclass(frozen=True)
class Cells:
    """Part of an AAA table: the rows and columns whose names begin with the prefixes.

    Args:
        table: key of paper_tables.json, "table1_mnist" for example.
        row, column: prefixes of our names in that table, such as "vgg_" in "vgg_natural".
    """

    table: str
    row: str = ""
    column: str = ""


def revisiting_value(table: str, row: str, column: str) -> float | None:
    """Return a number as the Revisiting paper prints it, or None if it has no such cell.

    Args:
        table: key under "revisiting" in paper_tables.json.
        row, column: keys of the table.
    """
    entry = _TABLES["revisiting"][table]
    values = entry.get(row)
    return None if values is None else values[entry["columns"].index(column)]


def paper_accuracy(places: Iterable[Cells], row: str, column: str) -> float | None:
    """Return AAA's printed accuracy as a fraction, or None if the paper has no such cell.

    Args:
        places: the cells to search, in this order.
        row: "natural", "adversarial_training", "aaa_ce", ..., "aaa_ensemble".
        column: "clean", "pgd40", ...
    """
    for cells in places:
        entry = _TABLES["aaa"][cells.table]
        values, wanted = entry.get(cells.row + row), cells.column + column
        if values is not None and wanted in entry["columns"]:
            return values[entry["columns"].index(wanted)] / 100
    return None
