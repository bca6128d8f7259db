"""keras-aaa as it is installed, from a folder where names of ours mean something else."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli import COMMANDS
from tests.helpers.commands import run

PROGRAM = Path(sys.executable).with_name("keras-aaa")


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of a user who has a package experiments and a module zoo of his own."""
    for name in ("experiments", "zoo"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    return tmp_path


def keras_aaa(folder, *arguments):
    return subprocess.run([PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)


def test_help_names_every_command(elsewhere):
    done = keras_aaa(elsewhere, "--help")
    assert done.returncode == 0
    for name, (module, _) in COMMANDS.items():
        assert name in done.stdout and f"({module})" in done.stdout


def test_an_unknown_command_is_one_line(elsewhere):
    done = keras_aaa(elsewhere, "evalute")
    assert done.returncode == 2 and done.stderr.startswith("error: expected a command, train, ")
    assert len(done.stderr.splitlines()) == 1


def test_a_command_is_the_packages_own(elsewhere):
    done = keras_aaa(elsewhere, "zoo", "list", "--dataset=mnist", "--kind=autoencoder")
    assert done.returncode == 0, done.stderr
    assert "aaa_mnist_ce_mse" in done.stdout
    done = keras_aaa(elsewhere, "evaluate", "--model=nothing_here")
    assert done.returncode == 2 and "error: Unknown model 'nothing_here'" in done.stderr


def test_the_zoo_refuses_the_flag_of_another_of_its_commands():
    done = run("zoo", "list", "--version=3")
    assert done.returncode == 2
    assert done.complaint == "error: --version: list does not use it; leave it out."
