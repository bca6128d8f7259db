"""What every command does: errors in one line, the record of its run, printed tables."""

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Iterable

import tensorflow as tf
from absl import flags, logging
from rich.console import Console
from rich.table import Table

from keras_aaa import data
from keras_aaa.results import provenance
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Preempted, TrainingError
from keras_aaa.training.distribution import RESTART

# Flags that do not change a run's measurements.
_NOT_PART = ("workdir", "data_dir", "publish", "strategy", "tpu", "start_seconds", "compiled")
_ALIASES: dict[str, str] = {}  # a flag's old name -> its new name
# TensorFlow raises these on the remaining workers when one is lost.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)


def friendly(main: Callable[[list[str]], None]) -> Callable[[list[str]], int]:
    """Wrap a command: an error that a user can fix gives one line and exit code 2, no stack trace.

    Exit code 75 means "start again": the run was preempted, or it lost another worker.
    KERAS_AAA_DEBUG=1 in the environment shows the stack trace.
    """

    def run(argv: list[str]) -> int:
        logging.set_verbosity(logging.WARNING)
        tf.get_logger().setLevel("ERROR")  # one retracing for each model is expected
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
        try:
            if argv[1:]:
                raise ValueError(f"unexpected argument {argv[1]!r}: expected --flags only.")
            main(argv)
        except (Preempted, *LOST) as error:
            print(f"{_line(error)} (exit code {RESTART}: start again)", file=sys.stderr)
            return RESTART
        except (ValueError, TypeError, OSError, TrainingError, tf.errors.OpError) as error:
            if os.environ.get("KERAS_AAA_DEBUG") == "1":
                raise
            print(f"error: {_line(error)}", file=sys.stderr)
            return 2
        return 0

    return run


def _line(error: Exception) -> str:
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return " ".join(message.split())


def define_alias(old: str, new: str) -> None:
    """Keep a flag's old name valid, because results and cards quote commands that use it."""
    flags.DEFINE_alias(old, new)
    _ALIASES[old] = new


def command_line(module: str) -> str:
    """Return the command that repeats this run: the flags that were set, except folders."""
    by_module = flags.FLAGS.flags_by_module_dict()
    present = {flag.name for group in by_module.values() for flag in group if flag.present}
    chosen = {new: flags.FLAGS[new] for new in (_ALIASES.get(name, name) for name in present)}
    parts = [flag.serialize() for name, flag in sorted(chosen.items()) if name not in _NOT_PART]
    return " ".join([f"python -m {module}", *parts])


def record(
    module: str, *, dataset: str | None, threat: ThreatModel, **precision: str | None
) -> dict:
    """Return the fields that all results share; the caller adds the measurements.

    Args:
        module: the command's module, part of the command that repeats the run.
        dataset: the data set's name; None for a user's own images.
        threat: the threat model.
        **precision: precision of `training` and `crafting`; None for a stage that was not run.
            Scoring is always float32.
    """
    computed = {what: name for what, name in precision.items() if name is not None}
    return {
        "command": command_line(module),
        "dataset": dataset,
        "stored_as": data.stored_as(dataset, flags.FLAGS.data_dir) if dataset else None,
        "threat": dataclasses.asdict(threat),
        "precision": {**computed, "scoring": "float32"} if computed else None,
        "provenance": provenance(),
    }


def print_tables(tables: Iterable[tuple[str, list[str], list[list[str]]]]) -> None:
    """Print tables, each a title, a header and rows of cells, in the terminal."""
    for title, header, rows in tables:
        Console().print(title)  # not as the table's title, which wraps to the table's width
        table = Table()
        for index, column in enumerate(header):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
