"""Find the fastest batch size on this machine, by a measurement of a few seconds."""

import time
from collections.abc import Callable

SIZES = (125, 250, 500, 1000, 2000)
ENOUGH = 1.05  # a larger batch must be this much faster to be worth its memory


def fastest_batch(run: Callable[[int], object], examples: int) -> int:
    """Return the batch size with the most examples a second.

    Sizes are tried in rising order until one is less than 5 % faster than the one before.

    Args:
        run: run(size) processes a batch of that size and waits for the result.
        examples: the number of examples; no larger size is tried.
    """
    best, rate = min(SIZES[0], examples), 0.0
    for size in SIZES:
        if size > examples:
            break
        run(size)  # compiles
        began = time.perf_counter()
        run(size)
        new_rate = size / (time.perf_counter() - began)
        if new_rate < ENOUGH * rate:
            break
        best, rate = size, new_rate
    return best
