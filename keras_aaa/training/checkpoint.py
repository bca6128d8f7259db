"""Checkpoints of a run: weights, optimizer, position and history, written atomically."""

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

KEEP = 2
SECONDS_BETWEEN = 100.0  # by default; a killed run loses no more than this


@dataclass
class Progress:
    """Where a run stands: next step, running sums of this epoch, one dict an epoch that ended."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


class _SavedProgress(tf.train.experimental.PythonState):
    """Progress as JSON inside the checkpoint, so that it can never part from the weights."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def serialize(self) -> str:
        return json.dumps(asdict(self._progress))

    def deserialize(self, string_value) -> None:
        vars(self._progress).update(json.loads(string_value))


class Checkpointer:
    """Saves and restores a run under `folder`.

    Args:
        folder: where the checkpoints lie; made if it is not there.
        model: the trained model.
        optimizer: its optimizer, already built.
        progress: the run's position, saved with the weights.
        seconds: the time between saves within an epoch.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizer,
        progress: Progress,
        seconds: float = SECONDS_BETWEEN,
    ):
        self.folder = folder
        self._seconds = seconds
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=optimizer, progress=_SavedProgress(progress)
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=KEEP)
        self._progress = progress
        self._saved_at = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint named by the step; the state file is renamed into place last."""
        self._manager.save(checkpoint_number=self._progress.step, check_interval=False)
        self._saved_at = time.monotonic()

    def save_if_due(self) -> None:
        """Save if the last save is `seconds` or more ago."""
        if time.monotonic() - self._saved_at >= self._seconds:
            self.save()

    def restore(self) -> bool:
        """Restore the newest readable checkpoint; return whether there was one.

        A damaged one is passed over, with a warning that names it.

        Raises:
            ValueError: if there are checkpoints and none can be read.
        """
        paths = list(reversed(self._manager.checkpoints))
        for path in paths:
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
                return True
            except (tf.errors.OpError, ValueError, IndexError) as error:
                reason = str(error).splitlines()[0][:200]
                logging.warning("Checkpoint %s cannot be read (%s); trying an older.", path, reason)
        if paths:
            raise ValueError(
                f"None of the checkpoints in {Path(paths[0]).parent} can be read; delete the "
                "folder to start afresh."
            )
        return False
