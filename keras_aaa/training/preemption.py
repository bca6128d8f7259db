"""SIGTERM, which clusters send before they take a machine away: save first, then go."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Preempted(Exception):
    """The run was told to end, has saved, and goes on where it was when started again."""


@contextmanager
def sigterm_noted() -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM ends nothing; the callable it yields says whether one came.

    Outside the main thread, where Python hands out no signals, it always says no.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: noted.set())
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
