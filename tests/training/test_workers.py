"""Several workers as processes of this machine: they train as one, and lose nothing to faults."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_aaa.training.distribution import RESTART, choose_strategy, sum_over_workers, worker_slice
from tests.helpers import HELPERS, PROJECT, commands
from tests.helpers.loopback import (
    WORKER,
    alone,
    difference,
    figures,
    start,
    supervise,
    wait,
    weights,
)

LONG = ("--examples=2400", "--epochs=3", "--checkpoint_seconds=1", "--eps=0.1")


def wait_for_checkpoint(workdir, processes, after=0):
    """Return once a checkpoint of a later step than `after` is there."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        steps = [int(p.stem[5:]) for p in (workdir / "checkpoints").glob("ckpt-*.index")]
        if max(steps, default=0) > after:
            return
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    raise AssertionError("no checkpoint in two minutes")


@pytest.mark.parametrize(
    ("workers", "replicas"),
    [
        (2, 1),
        pytest.param(3, 1, marks=pytest.mark.slow),
        pytest.param(2, 2, marks=pytest.mark.slow),
        pytest.param(3, 2, marks=pytest.mark.slow),
    ],
)
def test_workers_train_as_one_process(workers, replicas, tmp_path):
    expected = alone(tmp_path)
    out = tmp_path / "out"
    command = [WORKER, "multiworker", tmp_path / "run", out, f"--replicas={replicas}"]
    codes = wait(start(workers, command, tmp_path / "logs"))
    assert codes == [0] * workers
    found = [figures(out, index) for index in range(workers)]
    assert [f["workers"] for f in found] == [workers] * workers
    assert [f["replicas"] for f in found] == [workers * replicas] * workers
    assert found[0]["step"] == figures(expected)["step"] == 20
    for index in range(1, workers):
        assert difference(weights(out, 0), weights(out, index)) == 0
    assert difference(weights(expected), weights(out)) < 1e-5
    # Evaluation counts each of the 601 examples once, those of the ragged last batch too.
    for key in ("val_accuracy", "val_robust_accuracy"):
        assert {f["history"][0][key] for f in found} == {figures(expected)["history"][0][key]}


def test_a_worker_that_never_comes_ends_the_others(tmp_path):
    command = [WORKER, "multiworker", tmp_path / "run", tmp_path / "out", "--start_seconds=5"]
    began = time.monotonic()
    (code,) = wait(start(2, command, tmp_path / "logs", only=0))
    assert code == -signal.SIGKILL
    assert time.monotonic() - began < 90
    assert "not all of the workers" in (tmp_path / "logs" / "worker0.log").read_text()


def test_sigterm_saves_and_asks_for_a_restart(tmp_path):
    options = ["--examples=480", "--epochs=4", "--checkpoint_seconds=1000"]
    expected = alone(tmp_path, *options)
    run, out = tmp_path / "run", tmp_path / "out"
    command = [WORKER, "default", run, out, *options]
    process = commands.Running(*command)
    wait_for_checkpoint(run, [process])  # after the first epoch
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    done = process.finish(timeout=60)
    assert done.returncode == RESTART
    assert "The same command resumes from there" in done.stdout
    assert commands.run(*command).returncode == 0
    assert difference(weights(expected), weights(out)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_loses_nothing(victim, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    quiet = [WORKER, "multiworker", tmp_path / "quiet", tmp_path / "quiet_out", *LONG]
    assert wait(start(2, quiet, tmp_path / "quiet_logs")) == [0, 0]

    def kill(processes):
        wait_for_checkpoint(run, processes, after=110)  # in the second epoch
        time.sleep(0.5)
        processes[victim].send_signal(signal.SIGKILL)

    command = [WORKER, "multiworker", run, out, *LONG]
    rounds = supervise(2, command, tmp_path / "logs", kill)
    assert len(rounds) > 1 and rounds[0][victim] == -signal.SIGKILL
    log = (tmp_path / "logs" / "worker1.log").read_text()
    assert "Resuming" in log
    for index in (0, 1):
        assert difference(weights(tmp_path / "quiet_out"), weights(out, index)) == 0
    assert figures(out)["history"] == figures(tmp_path / "quiet_out")["history"]


@pytest.mark.slow
def test_sigterm_to_one_worker_ends_all_at_the_same_step(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    command = [WORKER, "multiworker", run, out, *LONG]
    processes = start(2, command, tmp_path / "logs")
    wait_for_checkpoint(run, processes)
    processes[1].send_signal(signal.SIGTERM)
    ends = time.monotonic() + 60
    while time.monotonic() < ends and any(p.poll() is None for p in processes):
        time.sleep(0.1)
    assert [p.poll() for p in processes] == [RESTART, RESTART]
    logs = [(tmp_path / "logs" / f"worker{i}.log").read_text() for i in (0, 1)]
    told = [next(line for line in log.splitlines() if "Told to end" in line) for log in logs]
    assert told[0] == told[1]
    supervise(2, command, tmp_path / "logs")


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "workers"), [("default", 1), ("multiworker", 2)])
def test_the_chief_killed_in_mid_checkpoint(strategy, workers, tmp_path):
    options = ["--examples=2400", "--checkpoint_seconds=0"]
    quiet = [WORKER, strategy, tmp_path / "quiet", tmp_path / "quiet_out", *options]
    assert wait(start(workers, quiet, tmp_path / "logs")) == [0] * workers
    run, out = tmp_path / "run", tmp_path / "out"
    command = [WORKER, strategy, run, out, *options, "--die_saving"]
    killed = start(workers, command, tmp_path / "logs")
    assert wait(killed)[0] == -signal.SIGKILL
    half_written = [name for name in os.listdir(run / "checkpoints") if "temp" in name]
    assert half_written
    assert wait(start(workers, command, tmp_path / "logs")) == [0] * workers
    assert difference(weights(tmp_path / "quiet_out"), weights(out)) == 0
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    steps = {name.split(".")[0] for name in left}
    assert steps == {"ckpt-99", "ckpt-100"} and not any("temp" in name for name in left)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["*.index", "*.data*", "*"])
def test_newest_checkpoint_lost(lost, tmp_path):
    options = ["--examples=480", "--epochs=3"]
    expected = alone(tmp_path, *options)
    for path in (tmp_path / "alone" / "checkpoints").glob(f"ckpt-60{lost}"):
        path.unlink()
    before = weights(expected)
    again = weights(alone(tmp_path, *options))
    assert difference(before, again) == 0


def test_a_single_process_has_all_the_work():
    strategy = choose_strategy("default")
    np.testing.assert_array_equal(worker_slice(strategy, 7), np.arange(7))
    np.testing.assert_array_equal(sum_over_workers(strategy, [1.5, 2.0]), [1.5, 2.0])


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("multiworker", {}, "expected TF_CONFIG"),
        ("multiworker", {"TF_CONFIG": "{"}, "TF_CONFIG: expected a JSON object"),
        ("tpu", {}, "--tpu: expected"),
        ("miror", {}, "mirrored"),
    ],
)
def test_strategies_that_cannot_be(name, environment, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=message):
        choose_strategy(name)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["slurm.sh", "worker.sh"])
def test_the_cluster_scripts(script, tmp_path):
    here, project = HELPERS, PROJECT
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{here}:{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **{"TASKS": "2", "WORKERS": "2", "WORKER_ADDRESS": "127.0.0.1:2347%d"},
        **{"DATASET": "mnist", "RECIPE": "smoke", "BATCH": "64", "EVAL_EXAMPLES": "51"},
        "WORKDIR": str(tmp_path / "run"),
    }
    path = project / "docs" / "cluster" / script
    if script == "slurm.sh":
        commands = [["bash", path]]
    else:
        flags = ["--dataset=mnist", "--recipe=smoke", "--eval_examples=51"]
        flags += ["--strategy=multiworker", f"--workdir={tmp_path / 'run'}"]
        commands = [["bash", path, "python", "-m", "experiments.aaa", *flags]] * 2
    processes = [
        subprocess.Popen(
            command, env=environment | {"WORKER_INDEX": str(index)}, cwd=here.parent.parent
        )
        for index, command in enumerate(commands)
    ]
    assert wait(processes) == [0] * len(commands)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {m["examples"] for m in result["measurements"]} == {51}
    run = json.loads((tmp_path / "run" / "aaa_mnist_ce_mse" / "run.json").read_text())
    assert len(run["history"]) == 2
