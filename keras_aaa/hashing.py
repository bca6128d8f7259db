"""SHA-256 hashes of weights, files, folders, arrays and JSON."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np


def weights_hash(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, in order, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


class IntegrityError(ValueError):
    """A file of an artefact is not the file that was published."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder`, by its relative path with slashes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): file_hash(p) for p in files}


def check_hashes(folder: Path, expected: dict[str, str]) -> None:
    """Check that every expected file exists and has the expected hash.

    Args:
        folder: where the files are.
        expected: relative path -> SHA-256.

    Raises:
        IntegrityError: if a file is missing or differs; names it and both hashes.
    """
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path}: expected a file with sha256 {digest}, found none.")
        if (found := file_hash(path)) != digest:
            raise IntegrityError(
                f"{path}: expected sha256 {digest}, found {found}. It is not the file that was "
                "published: restore it, or remove its folder and fetch it (python -m zoo fetch)."
            )


def examples_hash(images, labels) -> str:
    """Return the SHA-256 of images and labels, arrays or tensors, as 64 hexadecimal digits."""
    content = b"".join(np.asarray(part).tobytes() for part in (images, labels))
    return hashlib.sha256(content).hexdigest()


def json_hash(key: dict) -> str:
    """Return a hash of a JSON object: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
