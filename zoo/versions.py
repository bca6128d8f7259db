"""Find a version of an artefact: in the package, a private zoo, the cache or a remote zoo."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keras_aaa.checks import lookup
from keras_aaa.hashing import check_hashes
from zoo.card import CARD, Card, check_name, check_version
from zoo.fetch import cache, fetch
from zoo.index import IndexEntry, read_index

ROOT = Path(__file__).parent / "models"
INDEX = Path(__file__).parent / "index.json"


@dataclass(frozen=True)
class ModelVersion:
    """One version of an artefact; `entry` is from the index, or None for a private zoo."""

    name: str
    version: int
    root: Path
    entry: IndexEntry | None

    def folder(self) -> Path:
        """Return the artefact's folder; fetch it if it is missing. Raises as fetch() does."""
        folder = self.root / self.name / str(self.version)
        if self.entry is None or folder.is_dir():
            return folder
        return fetch(self.name, self.version, self.entry)

    def at_hand(self) -> bool:
        """Return whether the artefact is on this machine."""
        roots = [self.root, cache()] if self.entry else [self.root]
        return any((root / self.name / str(self.version)).is_dir() for root in roots)

    @property
    def card_sha256(self) -> str | None:
        """The index's hash of the card, or None for a zoo without an index."""
        return self.entry.card_sha256 if self.entry else None

    def card(self) -> Card:
        """Return the card, verified against the index."""
        folder = self.folder()
        if self.card_sha256:
            check_hashes(folder, {CARD: self.card_sha256})
        return Card.read(folder / CARD)


def find(name: str, version: int | None = None, root: Path | str | None = None) -> ModelVersion:
    """Return the artefact of that name and version, the newest by default.

    Args:
        name: a name from list_models().
        version: a whole number >= 1, or None for the newest.
        root: a private zoo's folder, or None for the zoo of this package.

    Raises:
        ValueError: for an unknown name (suggests the nearest) or version (lists the known).
    """
    versions = lookup("model", name, _known(root))
    if version is None:
        return versions[max(versions)]
    if check_version(version) not in versions:
        known = ", ".join(map(str, sorted(versions)))
        raise ValueError(f"{name} has no version {version}. Known: {known}.")
    return versions[int(version)]


def next_version(name: str) -> int:
    """Return the version number of a newly trained model: the zoo's newest plus 1, or 1."""
    return 1 + max(_known(None).get(check_name(name), {0: None}))


def newest(root: Path | str | None = None) -> Iterator[ModelVersion]:
    """Yield the newest version of every artefact, sorted by name."""
    for _, versions in sorted(_known(root).items()):
        yield versions[max(versions)]


def _known(root: Path | str | None) -> dict[str, dict[int, ModelVersion]]:
    if root is None:
        return {
            name: {v: ModelVersion(name, v, ROOT, entry) for v, entry in versions.items()}
            for name, versions in read_index(INDEX).items()
        }
    if not Path(root).is_dir():
        raise ValueError(f"root: {root} is not a folder.")
    known: dict[str, dict[int, ModelVersion]] = {}
    for path in Path(root).glob(f"*/*/{CARD}"):
        name, version = path.parent.parent.name, path.parent.name
        if version.isdigit():
            model = ModelVersion(name, int(version), Path(root), None)
            known.setdefault(name, {})[int(version)] = model
    if not known:
        raise ValueError(f"root: expected <name>/<version>/{CARD} in {root}, found none.")
    return known
