"""Run commands as a user does, without waiting for TensorFlow to load each time.

One server process imports TensorFlow and is forked for every command, before it has computed
anything. A command therefore has a process, flags, standard output and exit code of its own.
"""

import multiprocessing
import os
import re
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PRELOADED = [
    "tensorflow",
    "keras",
    "tensorflow_datasets",
    "matplotlib.pyplot",
    "rich.progress",
    "keras_aaa.attacks",
    "keras_aaa.evaluation",
    "keras_aaa.training",
    "zoo",
]
TENSORFLOWS = re.compile(r"[EIW]\d{4} \d\d:\d\d:\d\d|WARNING: All log messages before absl")
TIMEOUT = 600  # seconds, after which a command hangs

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Finished:
    """A command that has ended; its fields are named as those of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """What the command itself wrote to standard error, without TensorFlow's log lines."""
        lines = self.stderr.splitlines()
        return "\n".join(line for line in lines if line and not TENSORFLOWS.match(line))


class Running:
    """A command that was started.

    Args:
        program: a module, as after `python -m`, or the path of a script.
        *arguments: of its command line.
        cwd: the folder it runs in; the present one by default.
        prepare: called in the new process first; a function of a module.
        output: a file that everything printed is appended to; by default finish() returns it.
        **environment: variables that are added to those of this process.
    """

    def __init__(
        self,
        program: str | Path,
        *arguments,
        cwd: Path | None = None,
        prepare: Callable[[], None] | None = None,
        output: Path | None = None,
        **environment: str,
    ):
        self._folder = tempfile.TemporaryDirectory()
        own = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        self._files = own if output is None else [output, output]
        self._process = _context.Process(
            target=_execute,
            args=(
                program,
                [str(argument) for argument in arguments],
                self._files,
                cwd or Path.cwd(),
                {**os.environ, **environment},
                prepare,
            ),
            daemon=True,  # it ends with the tests at the latest
        )
        self._process.start()

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, unless it has ended."""
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Return the exit code, once the command has ended.

        Raises:
            TimeoutError: if it does not end in so many seconds; it is killed.
        """
        self._process.join(timeout)
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)
            self._process.join()
            raise TimeoutError(f"The command still ran after {timeout} s.")
        return self._process.exitcode

    def finish(self, timeout: float = TIMEOUT) -> Finished:
        """Return the exit code and what was printed, once the command has ended, as wait()."""
        code = self.wait(timeout)
        return Finished(code, *(file.read_text() for file in self._files))

    def kill_when(self, condition: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        """Kill the command as soon as the condition holds, which it must while the command runs."""
        ends = time.monotonic() + timeout
        while not condition():
            assert self.poll() is None, f"It ended before it could be killed: {self.finish()}"
            assert time.monotonic() < ends, f"The condition did not hold within {timeout} s."
            time.sleep(0.02)
        self.send_signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL


def run(program: str | Path, *arguments, timeout: float = TIMEOUT, **options) -> Finished:
    """Run a command to its end; the options are those of Running."""
    return Running(program, *arguments, **options).finish(timeout)


def _execute(program, arguments, files, folder, environment, prepare) -> None:
    for number, path in enumerate(files, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [str(program), *arguments]
    if prepare is not None:
        prepare()
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
