"""Checkpoints of a run (weights, optimizers, position, history), and saving one at SIGTERM."""

import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from keras_aaa.results import as_json, check_same_run, write_json

KEEP = 2
SECONDS_BETWEEN = 100.0  # default; a killed run loses at most this much time


@dataclass
class Progress:
    """Progress of a run: next step, running sums of this epoch, one dict per finished epoch."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


class _SavedProgress(tf.train.experimental.PythonState):
    """Progress as JSON inside the checkpoint, so that it always matches the weights."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def serialize(self) -> str:
        return json.dumps(asdict(self._progress))

    def deserialize(self, string_value) -> None:
        vars(self._progress).update(json.loads(string_value))


class Checkpointer:
    """Save and restore a run under `folder`, in files named by the step: ckpt-<step>.*.

    Args:
        folder: the folder of the checkpoints; created if missing. Several workers must all see the
            same folder.
        model: the trained model.
        optimizers: its optimizers, already built; the optimizer of the first loss comes first.
        progress: the run's position, saved with the weights.
        seconds: seconds between saves within an epoch.
        writes: whether this process writes checkpoints; only one of several workers does.
        averages: the variables of the averaged weights, if any.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizers: Sequence[keras.optimizers.Optimizer],
        progress: Progress,
        seconds: float = SECONDS_BETWEEN,
        writes: bool = True,
        averages: Sequence[tf.Variable] = (),
    ):
        self.folder = folder
        self._seconds, self._writes = seconds, writes
        first, *others = optimizers
        self._checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=first,
            others=others,
            averages=list(averages),
            progress=_SavedProgress(progress),
        )
        self._progress = progress
        self._saved_at = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint, its index last; then delete old checkpoints and incomplete saves."""
        self._saved_at = time.monotonic()
        if not self._writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._checkpoint.write(str(self.folder / f"ckpt-{self._progress.step}"))
        newest = {path.stem for path in self._indices()[:KEEP]}
        for path in self.folder.iterdir():
            if path.name.split(".")[0] not in newest or ".tempstate" in path.name:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def claim(self, description: dict) -> None:
        """Refuse the checkpoints of a run with another description; keep it beside them.

        Args:
            description: everything that the weights depend on, as JSON.

        Raises:
            ValueError: if the folder holds checkpoints of another run; lists the differences.
        """
        path = self.folder.parent / "training.json"
        if path.exists() and self._indices():
            check_same_run(self.folder.parent, json.loads(path.read_text()), description)
        elif self._writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, as_json(description))

    def save_if_due(self) -> None:
        """Save if the last save was `seconds` or more ago."""
        if time.monotonic() - self._saved_at >= self._seconds:
            self.save()

    def restore(self) -> bool:
        """Restore the newest readable checkpoint; return whether there was one.

        A damaged checkpoint is skipped, with a warning that names it.

        Raises:
            ValueError: if there are checkpoints, but none can be read.
        """
        paths = [path.with_suffix("") for path in self._indices()]
        for path in paths:
            try:
                self._checkpoint.read(str(path)).assert_existing_objects_matched()
                return True
            except (tf.errors.OpError, ValueError, IndexError) as error:
                reason = str(error).splitlines()[0][:200]
                logging.warning("Checkpoint %s cannot be read (%s); trying an older.", path, reason)
        if paths:
            raise ValueError(
                f"None of the checkpoints in {self.folder} can be read; delete the folder to start "
                "afresh."
            )
        return False

    def _indices(self) -> list[Path]:
        """Return the index files of complete checkpoints, newest first."""
        return sorted(self.folder.glob("ckpt-*.index"), key=_step, reverse=True)


def _step(index: Path) -> int:
    return int(index.stem.removeprefix("ckpt-"))


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
