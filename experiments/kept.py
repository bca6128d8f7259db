"""What was measured once and is kept in a file, so that a run that was broken off goes on there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from keras_aaa.results import write_json


def kept(folder: Path, key: dict, measure: Callable[[], dict]) -> dict:
    """Return what `measure` gives, or what it gave for the same key in an earlier run.

    Args:
        folder: where a file for each key lies.
        key: whatever the measurement depends on, as JSON has it.
        measure: returns JSON.
    """
    path = folder / f"{digest(key)}.json"
    if not path.exists():
        write_json(path, {"key": key, "measured": measure()})
    return json.loads(path.read_text())["measured"]


def digest(key: dict) -> str:
    """Return a short hash of JSON."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
