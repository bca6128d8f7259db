"""A cluster on the loopback interface: one process a worker, as a scheduler would start them."""

import json
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.helpers.commands import Running, run

WORKER = Path(__file__).with_name("worker.py")
SECONDS = 240  # no cluster of a test lives longer


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(workers: int, command: Sequence, logs: Path, only: int | None = None) -> list:
    """Start `command` once for each worker, TF_CONFIG in its environment; `only` starts one."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    logs.mkdir(parents=True, exist_ok=True)
    started = []
    for index in range(workers) if only is None else [only]:
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        log = logs / f"worker{index}.log"
        started.append(Running(*command, output=log, TF_CONFIG=config, TF_CPP_MIN_LOG_LEVEL="2"))
    return started


def wait(processes, seconds: float = SECONDS) -> list[int]:
    """Return the exit codes; kill what is left when one fails or the time is over."""
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            codes = [process.poll() for process in processes]
            if all(code is not None for code in codes) or any(codes):
                break
            time.sleep(0.05)
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
    return [process.wait(timeout=10) for process in processes]


def supervise(
    workers: int,
    command: Sequence,
    logs: Path,
    meddle: Callable[[list], None] = lambda processes: None,
    restarts: int = 3,
) -> list[list[int]]:
    """Run the cluster until all workers end well, all anew when one does not; return the codes.

    Args:
        meddle: called with the processes of the first start, while they run.
    """
    rounds = []
    for attempt in range(restarts + 1):
        processes = start(workers, command, logs)
        if not attempt:
            meddle(processes)
        rounds.append(wait(processes))
        if not any(rounds[-1]):
            return rounds
    raise RuntimeError(f"still failing after {restarts} restarts: {rounds}, logs in {logs}")


def weights(folder, index=0):
    with np.load(folder / f"worker{index}.npz") as stored:
        return [stored[name] for name in stored]


def figures(folder, index=0):
    return json.loads((folder / f"worker{index}.json").read_text())


def difference(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


def alone(tmp_path, *options):
    """Train in a single process; return its folder of weights and figures."""
    out = tmp_path / "alone_out"
    done = run(WORKER, "default", tmp_path / "alone", out, *options)
    assert done.returncode == 0, done.stderr
    return out
