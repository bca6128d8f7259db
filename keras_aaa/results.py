"""Results as JSON: what was measured, on how many examples, by which code on which machine."""

import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import NormalDist

from keras_aaa.hashing import json_hash

PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "cleverhans")


@dataclass(frozen=True)
class Accuracy:
    """A count of correct examples; fractions in [0, 1] derive from it."""

    correct: int
    examples: int

    @property
    def value(self) -> float:
        """The fraction correct."""
        return self.correct / self.examples

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of the fraction (Wilson 1927)."""
        return self.interval_among(1)

    def interval_among(self, claims: int) -> tuple[float, float]:
        """The interval such that with 95 % all of so many claims hold at once (Bonferroni)."""
        z = NormalDist().inv_cdf(1 - 0.025 / claims)
        n, p = self.examples, self.value
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)

    def to_json(self) -> dict:
        """Return the JSON form; `from_json` reads it back."""
        return {
            "accuracy": self.value,
            "correct": self.correct,
            "examples": self.examples,
            "interval95": list(self.interval),
        }

    @classmethod
    def from_json(cls, data: dict) -> "Accuracy":
        """Read `to_json`'s form; the counts decide, the derived figures are not read."""
        return cls(int(data["correct"]), int(data["examples"]))


def provenance() -> dict:
    """Return versions, git commit (with "+changes" where the tree differs) and machine."""
    return {"commit": _commit(), "versions": _versions(), "machine": _machine()}


def write_json(path: Path, data: dict) -> None:
    """Write `data` so that a reader sees the old file or the new one, never a part."""
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


def cached(folder: Path, key: dict, measure: Callable[[], dict]) -> dict:
    """Return what `measure` gives, or what it gave for the same key in an earlier run.

    Args:
        folder: where a file for each key lies.
        key: whatever the measurement depends on, as JSON has it.
        measure: returns JSON.
    """
    path = folder / f"{json_hash(key)}.json"
    if not path.exists():
        write_json(path, {"key": key, "measured": measure()})
    return json.loads(path.read_text())["measured"]


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
