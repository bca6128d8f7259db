"""Fifty kills at random moments: the same weights and figures, and nothing left behind."""

import random
import signal
import time

import pytest

from tests.helpers.commands import Running
from tests.helpers.loopback import WORKER, alone, difference, figures, weights

KILLS, SEED = 50, 0
OPTIONS = ("--examples=4800", "--epochs=20", "--checkpoint_seconds=0.5", "--eps=0.1")


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    expected = alone(tmp_path, *OPTIONS)
    run, out = tmp_path / "run", tmp_path / "out"
    command = [WORKER, "default", run, out, *OPTIONS]
    moments, kills = random.Random(SEED), 0
    while kills < KILLS:
        process = Running(*command)
        before, ends = newest(run), time.monotonic() + 120
        while newest(run) <= before and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.02)  # at the least one more checkpoint, or fifty kills would get nowhere
        assert process.poll() is None, f"ended by itself after {kills} kills, code {process.wait()}"
        time.sleep(moments.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        # Two complete checkpoints, and at the most one that was being written.
        assert len({path.name.split(".")[0] for path in (run / "checkpoints").iterdir()}) <= 4
    assert Running(*command).wait() == 0
    assert difference(weights(expected), weights(out)) == 0
    assert figures(expected) == figures(out)
    left = {path.name.split(".", 1)[0] for path in (run / "checkpoints").iterdir()}
    assert len(left) == 2 and not [p for p in run.rglob("*") if "temp" in p.name]
    # The seconds of training, as text, are all that may differ.
    assert abs(size(run) - size(tmp_path / "alone")) < 100


def newest(run) -> int:
    indices = (run / "checkpoints").glob("ckpt-*.index")
    return max((int(path.stem.removeprefix("ckpt-")) for path in indices), default=0)


def size(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
