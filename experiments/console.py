"""What every command does at its edges: errors in one line, and the command to repeat it."""

import os
import sys
from collections.abc import Callable

import tensorflow as tf
from absl import flags, logging

from keras_aaa.training import TrainingError

# Where a run reads and writes is not part of what it measures.
_NOT_PART = ("workdir", "data_dir", "publish")


def friendly(main: Callable[[list[str]], None]) -> Callable[[list[str]], int]:
    """Wrap a command: an error a person can mend is one line and exit code 2, not a stack.

    With KERAS_AAA_DEBUG=1 in the environment the stack is shown.
    """

    def run(argv: list[str]) -> int:
        logging.set_verbosity(logging.WARNING)
        logging.get_absl_logger().addFilter(_not_for_users)
        tf.get_logger().setLevel("ERROR")  # its retracing notices count one trace a model
        try:
            main(argv)
        except (ValueError, TypeError, OSError, TrainingError, tf.errors.OpError) as error:
            if os.environ.get("KERAS_AAA_DEBUG") == "1":
                raise
            message = error.message if isinstance(error, tf.errors.OpError) else str(error)
            print(f"error: {' '.join(message.split())}", file=sys.stderr)
            return 2
        return 0

    return run


def _not_for_users(record) -> bool:
    """Leave out what tensorflow-datasets says of its own deprecated attributes."""
    return "FeatureConnector.dtype" not in record.getMessage()


def command_line(module: str) -> str:
    """Return the command that repeats this run: the flags given, without places."""
    given = flags.FLAGS.flags_by_module_dict()
    own = {flag.name: flag for group in given.values() for flag in group if flag.present}
    parts = [flag.serialize() for name, flag in sorted(own.items()) if name not in _NOT_PART]
    return " ".join([f"python -m {module}", *parts])
