"""Numbers that a caller gives: of the right kind and in range, or an error that names them."""

import math
import numbers


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
        name: of the argument, for the message.
        value: what was given.
        low, high: the range; both ends belong to it.
        whole: whether it must be a whole number.
        above: whether `low` itself is too low.

    Raises:
        TypeError: if it is no number, or not a whole one.
        ValueError: if it is out of range.
    """
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {'whole ' * whole}number, got {value!r}.")
    if not (math.isfinite(value) and low <= float(value) <= high) or (above and value == low):
        wanted = f"more than {low}" if above else f"{low} or more"
        if high < math.inf:
            wanted = f"{wanted}, {high} at the most" if above else f"{low} to {high}"
        raise ValueError(f"{name}: expected {wanted}, got {value}.")
