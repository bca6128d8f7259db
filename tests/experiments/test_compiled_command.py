"""The AAA command with its training executed by JAX: written as a job, run, taken back."""

import json
import subprocess
import sys

import pytest

import zoo
from tests.helpers.commands import run

pytest.importorskip("jax")

FLAGS = [
    "--recipe=smoke",
    "--eval_examples=5",
    "--latent=16",
    "--width=4",
    "--train_examples=128",
    "--validation_examples=20",
    "--epochs=1",
    "--classifiers=mnist_fc",
    "--average_decay=0.9",
    "--ensemble",
    "--loss=",
]


def aaa(*arguments):
    done = run("experiments.aaa", *FLAGS, *arguments)
    return done.returncode, done.stdout, done.stderr


def test_from_flags_to_cards(tmp_path):
    job, workdir = tmp_path / "job", tmp_path / "run"
    code, out, errors = aaa(f"--compile_to={job}", f"--workdir={workdir}")
    assert code == 0, errors
    assert f"python {job}/run.py" in out and not (workdir / "result.json").exists()
    code, _, errors = aaa(f"--compiled={job}", f"--workdir={workdir}")
    assert code == 2 and "no result of aaa_mnist_ce_mse_small_ensemble yet" in errors
    subprocess.run([sys.executable, job / "run.py"], check=True, timeout=600, capture_output=True)
    code, _, errors = aaa(f"--compiled={job}", f"--workdir={workdir}")
    assert code == 0, errors
    command = json.loads((workdir / "result.json").read_text())["command"]
    assert "compiled" not in command  # where a result lies is no part of it
    name = "aaa_mnist_ce_mse_small_ensemble"
    card = zoo.info(name, root=workdir / "zoo")
    training = card.training
    assert training["executed_by"]["device"] and training["executed_by"]["jax"]
    assert training["steps"] == 2 and isinstance(training["averaged"], bool)
    assert training["recipe"]["epochs"] == 1 and len(training["history"]) == 1
    assert zoo.load(name, root=workdir / "zoo").count_params() == card.parameters
    code, _, errors = aaa(f"--compile_to={job}")
    assert code == 2 and "expected a new folder" in errors


def test_flags_that_contradict_each_other():
    code, _, errors = aaa("--compile_to=there", "--compiled=here")
    assert code == 2 and "expected one of them" in errors
    code, _, errors = aaa("--compile_to=there", "--encoder_epochs=1")
    assert code == 2 and "--encoder_epochs" in errors
