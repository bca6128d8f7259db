"""Keras callbacks that report the progress of a run."""

import sys
from pathlib import Path

import keras
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressReport(keras.callbacks.Callback):
    """Show a bar with the time left in a terminal, and print one line per epoch everywhere.

    Args:
        title: name of the trained model, shown before the bar.
    """

    def __init__(self, title: str):
        super().__init__()
        self._title = title
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%, time left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            disable=not sys.stderr.isatty(),
        )

    def on_train_begin(self, logs=None):
        total = self.params["epochs"] * self.params["steps"]
        self._task = self._bar.add_task(self._title, total=total, figures="")
        self._bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        done = self._epoch * self.params["steps"] + batch + 1
        figures = f"loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.1%}"
        self._bar.update(self._task, completed=done, figures=figures)

    def on_epoch_end(self, epoch, logs=None):
        figures = ", ".join(f"{key} {value:.4g}" for key, value in logs.items())
        line = f"{self._title}: epoch {epoch + 1}/{self.params['epochs']}: {figures}"
        self._bar.console.print(line) if not self._bar.disable else print(line, flush=True)

    def on_train_end(self, logs=None):
        self._bar.stop()


def watch(title: str, folder: Path) -> list[keras.callbacks.Callback]:
    """Return a progress bar, TensorBoard (folder/tensorboard) and CSVLogger (folder/log.csv)."""
    return [
        ProgressReport(title),
        keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False),
        keras.callbacks.CSVLogger(str(folder / "log.csv"), append=True),
    ]
