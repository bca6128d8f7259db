"""Look a name up in a table of known things, with an error that helps."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return `table[name]`.

    Args:
        kind: what the table holds, for the message ("loss", "dataset", ...).
        name: the name asked for.
        table: the known names.

    Raises:
        ValueError: names every known entry, and the nearest one first.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), list(table), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(table))}.")
