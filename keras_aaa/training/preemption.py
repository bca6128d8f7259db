"""Preemption: clusters send SIGTERM before they take a machine away, and the run saves first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Preempted(Exception):
    """The run was told to end and is saved; it resumes when it is started again."""


@contextmanager
def sigterm_noted() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM inside the block instead of ending the process.

    Yields a callable that returns whether SIGTERM came. Python delivers signals only to the main
    thread, so in another thread it always returns False.
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
