"""Long measurements, killed and started again: they go on, and end as if nothing had happened."""

import json

import numpy as np
import pytest

from tests.helpers import commands

EVALUATE = [
    "experiments.evaluate",
    "--model=mnist_madry_pgd",
    "--attack=autoattack:steps=5:targets=2:queries=40",
    "--max_examples=600",
]
BENCHMARK = [
    "experiments.benchmark",
    "--jobs=clean_mnist,pgd_mnist",
    "--contenders=ours bfloat16,ours float32",
    "--examples=32",
    "--batch_sizes=32",
]


def run(command, workdir):
    done = commands.run(*command, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return json.loads((workdir / "result.json").read_text())


def kill_once_there(command, workdir, pattern, count):
    """Start the command and kill it as soon as `count` files of the pattern are there."""
    started = commands.Running(*command, f"--workdir={workdir}")
    started.kill_when(lambda: len(list(workdir.glob(pattern))) >= count)
    assert not (workdir / "result.json").exists()


@pytest.mark.slow
def test_autoattack(tmp_path):
    expected = run(EVALUATE, tmp_path / "quiet")
    kill_once_there(EVALUATE, tmp_path / "killed", "autoattack/*/block*.npz", 1)
    (block,) = (tmp_path / "killed" / "autoattack").glob("*/block*.npz")
    before = block.stat().st_mtime_ns
    found = run(EVALUATE, tmp_path / "killed")
    assert block.stat().st_mtime_ns == before  # it was not attacked a second time
    assert found["measurements"] == expected["measurements"]
    images = [np.load(tmp_path / name / "x_adv.npz")["x_adv"] for name in ("quiet", "killed")]
    np.testing.assert_array_equal(*images)


@pytest.mark.slow
def test_benchmark(tmp_path):
    kill_once_there(BENCHMARK, tmp_path, "rows/*.json", 2)
    before = {path.name: path.read_text() for path in (tmp_path / "rows").glob("*.json")}
    rows = run(BENCHMARK, tmp_path)["benchmark"]
    assert len(rows) == 4
    for name, text in before.items():
        assert (tmp_path / "rows" / name).read_text() == text
    robust = [row["robust"]["accuracy"] for row in rows if row["robust"]]
    assert len(robust) == 2 and min(robust) > 0.5
