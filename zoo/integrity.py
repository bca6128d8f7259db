"""sha256 of every file of an artefact, and their verification."""

import hashlib
from pathlib import Path

from zoo.card import Card

CARD = "card.json"


class IntegrityError(ValueError):
    """A file of an artefact is not the file that was published."""


def sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """Return path (relative, with slashes) -> sha256 of every file below `folder`."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256(p) for p in files}


def verify(folder: Path, expected: dict[str, str]) -> None:
    """Check that every expected file is there and has the expected hash.

    Raises:
        IntegrityError: names the file, what was expected and what was found.
    """
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path}: expected a file with sha256 {digest}, found none.")
        if (found := sha256(path)) != digest:
            raise IntegrityError(
                f"{path}: expected sha256 {digest}, found {found}. It is not the file that was "
                "published: restore it, or remove its folder and fetch it (python -m zoo fetch)."
            )


def verify_artefact(folder: Path, card_sha256: str | None = None) -> Card:
    """Return the card of an artefact, every file of which has been verified.

    Args:
        folder: the artefact.
        card_sha256: the index's hash of card.json, or None for a zoo without an index.

    Raises:
        IntegrityError: if a file is missing or is not the one that was published.
        ValueError: if the card cannot be read.
    """
    if card_sha256 is not None:
        verify(folder, {CARD: card_sha256})
    card = Card.read(folder / CARD)
    verify(folder, card.files)
    return card
