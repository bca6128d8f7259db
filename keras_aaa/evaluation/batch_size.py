"""Which batch size is fastest on this machine, by a measurement of a few seconds."""

import time
from collections.abc import Callable

SIZES = (125, 250, 500, 1000, 2000)
ENOUGH = 1.05  # a larger batch must be so many times faster to be worth its memory


def fastest_batch(run: Callable[[int], object], examples: int) -> int:
    """Return the batch size with the most examples a second; larger ones are tried while it rises.

    Args:
        run: run(size) does a little of the work on so many examples and waits for the result.
        examples: how many there are in all; no larger size is tried.
    """
    best, rate = min(SIZES[0], examples), 0.0
    for size in SIZES:
        if size > examples:
            break
        run(size)  # compiles
        began = time.perf_counter()
        run(size)
        found = size / (time.perf_counter() - began)
        if found < ENOUGH * rate:
            break
        best, rate = size, found
    return best
