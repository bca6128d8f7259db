"""Check arguments: numbers must be in range, names must be known."""

import difflib
import math
import numbers
from collections.abc import Mapping
from typing import TypeVar

import numpy as np


def check_number(
    name: str,
    value,
    low: float,
    high: float = math.inf,
    *,
    whole: bool = False,
    above: bool = False,
) -> None:
    """Raise unless `value` is a finite number from `low` to `high`.

    Args:
        name: the name of the argument, for the message.
        value: the argument.
        low, high: the range, ends included.
        whole: whether the value must be a whole number.
        above: whether the value must be more than `low`.

    Raises:
        TypeError: if it is not a number, or not a whole number.
        ValueError: if it is out of range.
    """
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {'whole ' * whole}number, got {value!r}.")
    number: float = int(value) if isinstance(value, numbers.Integral) else float(value)
    if not (low <= number <= high and abs(number) < math.inf) or (above and number == low):
        wanted = f"more than {low}" if above else f"{low} or more"
        if high < math.inf:
            wanted = f"{wanted}, {high} at the most" if above else f"{low} to {high}"
        raise ValueError(f"{name}: expected {wanted}, got {value}.")


def int32_seed(seed) -> int:
    """Return a whole number of any type and size as a seed that TensorFlow takes everywhere.

    Seeds that fit int32 stay as they are; others are mixed into 32 bits.

    Raises:
        TypeError: if it is not a whole number.
    """
    check_number("seed", seed, -math.inf, whole=True)
    seed = int(seed)
    if -(2**31) <= seed < 2**31:
        return seed
    mixed = np.random.SeedSequence([abs(seed), int(seed < 0)]).generate_state(1)[0]
    return int(mixed) - 2**31


T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return `table[name]`.

    Args:
        kind: the kind of thing in the table, for the message ("loss", "dataset", ...).
        name: the key to look up.
        table: the known entries.

    Raises:
        ValueError: if the name is unknown; suggests the nearest and lists all.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), list(table), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(table))}.")
