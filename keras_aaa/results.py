"""Results as JSON: what was measured, on how many examples, by which code on which machine."""

import dataclasses
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import NormalDist

import numpy as np

from keras_aaa.hashing import json_hash

PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "cleverhans")


@dataclass(frozen=True)
class Measurement:
    """One measured accuracy: how many examples were classified correctly, under which attack.

    Args:
        correct, examples: counts.
        attack: "clean", "pgd", "autoattack", ...
        steps: of the attack; None where it has none.
        step_size: of the attack, in image units; None where it has none.
        defended: name of the classifier behind the autoencoder, or of the classifier itself.
        paper: the paper's figure, a fraction; None where it has none.
        crafting: precision that the attack computed in, "float32" or "bfloat16".
        command: the module whose command published the figure on a card, experiments.evaluate say.
    """

    correct: int
    examples: int
    attack: str = "clean"
    steps: int | None = None
    step_size: float | None = None
    defended: str = ""
    paper: float | None = None
    crafting: str | None = None
    command: str | None = None

    @classmethod
    def of(cls, mask: np.ndarray, attack: str = "clean", **fields) -> "Measurement":
        """Return the measurement of a mask, bool [n]: which examples are classified correctly."""
        return cls(int(np.sum(mask)), len(mask), attack, **fields)

    @property
    def accuracy(self) -> float:
        """The fraction correct."""
        return self.correct / self.examples

    @property
    def interval95(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of the accuracy (Wilson 1927)."""
        return self.interval_among(1)

    def interval_among(self, claims: int) -> tuple[float, float]:
        """Return the interval at level 1 - 0.05 / claims (Bonferroni).

        With a probability of at least 95 %, the intervals of all claims hold at once.
        """
        z = NormalDist().inv_cdf(1 - 0.025 / claims)
        n, p = self.examples, self.accuracy
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)

    def error_margin(self, claims: int = 1) -> float:
        """Return the distance from the accuracy to the farther end of `interval_among(claims)`."""
        low, high = self.interval_among(claims)
        return max(high - self.accuracy, self.accuracy - low)

    def counts(self) -> dict:
        """Return accuracy, correct, examples and interval95, as results and cards write them."""
        return {
            "accuracy": self.accuracy,
            "correct": self.correct,
            "examples": self.examples,
            "interval95": list(self.interval95),
        }

    def to_row(self, **where) -> dict:
        """Return a row of a result's "measurements": where it stands, the attack, the counts."""
        attack = {"attack": self.attack, "steps": self.steps, "step_size": self.step_size}
        return {**where, **attack, **self.counts(), "paper": self.paper}

    def to_json(self) -> dict:
        """Return the form that cards store; `from_json` reads it back."""
        fields = dataclasses.asdict(self)
        if self.command is None:
            del fields["command"]  # cards that are older have none
        return {**fields, **self.counts()}

    @classmethod
    def from_json(cls, data: Mapping) -> "Measurement":
        """Read a card's form or a result's row. The counts decide; derived figures are not read."""
        names = [field.name for field in dataclasses.fields(cls) if field.name in data]
        fields = {name: data[name] for name in names}
        return cls(**{"defended": data.get("classifier", ""), **fields})


def provenance() -> dict:
    """Return package versions, the git commit ("+changes" if files differ from it), the machine."""
    return {"commit": _commit(), "versions": _versions(), "machine": _machine()}


def write_json(path: Path, data: dict) -> None:
    """Write JSON atomically: a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".tmp") as file:
        try:
            json.dump(data, file, indent=1, sort_keys=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def cached(
    folder: Path,
    key: dict,
    measure: Callable[[], dict],
    *,
    name: str = "",
    again: bool = False,
    write: bool = True,
) -> dict:
    """Return what `measure` returns, or what it returned for the same key in an earlier run.

    Interrupted runs resume this way.

    Args:
        folder: holds a file for each key.
        key: whatever the measurement depends on, as JSON has it.
        measure: returns JSON.
        name: put before the hash in the file's name, for people.
        again: whether to measure even if there is a file.
        write: whether this process writes the file; one of several workers does.
    """
    path = folder / "_".join(part for part in (name, f"{json_hash(key)}.json") if part)
    if path.exists() and not again:
        return json.loads(path.read_text())["measured"]
    measured = measure()
    if write:
        write_json(path, {"key": key, "measured": measured})
    return measured


def as_json(data: dict) -> dict:
    """Return the data as a JSON file returns it, with lists instead of tuples."""
    return json.loads(json.dumps(data))


def check_same_run(folder: Path, stored: dict, key: dict) -> None:
    """Refuse to continue another run in a folder.

    Args:
        folder: the run's folder, for the message.
        stored: the key in the folder's run.json.
        key: everything that this run depends on, as JSON has it or with tuples.

    Raises:
        ValueError: if the keys differ; lists the fields with both values.
    """
    if differing := _differences(stored, as_json(key)):
        raise ValueError(
            f"{folder} holds another run: {'; '.join(differing)}. Choose another workdir, or "
            "delete that folder."
        )


def claim(path: Path, key: dict) -> None:
    """Write what a run depends on into its folder, or refuse to continue another run there.

    Args:
        path: the file, in the run's folder.
        key: as for check_same_run; the same error is raised.
    """
    if path.exists():
        check_same_run(path.parent, json.loads(path.read_text()), key)
    else:
        write_json(path, as_json(key))


def _differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    differences = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            differences += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            differences.append(f"{prefix}{key} is {a!r} there and {b!r} here")
    return differences


def _commit() -> str | None:
    here = Path(__file__).parent

    def git(*arguments):
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", ":/keras_aaa")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None  # installed without its repository


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict:
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        line.split(":", 1)[1].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else ())
        if line.startswith("model name")
    ]
    return {"processor": models[0] if models else platform.processor(), "cores": os.cpu_count()}
