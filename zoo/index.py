"""What is made from the cards: the index with its pinned hashes, and the pages in Markdown."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_aaa.hashing import file_hash
from keras_aaa.results import Measurement, write_json
from zoo.artefact import pack
from zoo.card import CARD, Card

SCHEMA = 1


@dataclass(frozen=True)
class IndexEntry:
    """One version of one artefact.

    Args:
        kind, dataset, threat: as on its card; threat is the norm, or None.
        bytes: total size of its files.
        card_sha256: of card.json, which holds the hashes of the other files.
        archive_sha256: of the tar file that a remote zoo serves.
    """

    kind: str
    dataset: str
    threat: str | None
    bytes: int
    card_sha256: str
    archive_sha256: str


def describe(card: Card) -> dict:
    """Return the fields that list_models() filters by: kind, dataset, threat (a norm or None)."""
    norm = card.threat["norm"] if card.threat else None
    return {"kind": card.kind, "dataset": card.dataset, "threat": norm}


def read_index(path: Path) -> dict[str, dict[int, IndexEntry]]:
    """Return name -> version -> entry; empty if the index does not exist.

    Raises:
        ValueError: for an index of a newer schema.
    """
    if not path.exists():
        return {}
    data = json.loads(path.read_text())
    if data["schema"] > SCHEMA:
        raise ValueError(f"{path} has schema {data['schema']}; this version reads up to {SCHEMA}.")
    return {
        name: {int(version): IndexEntry(**entry) for version, entry in versions.items()}
        for name, versions in data["models"].items()
    }


def build_index(root: Path) -> dict:
    """Return the index of the artefacts below `root`, as JSON."""
    models: dict[str, dict[str, dict]] = {}
    for path in sorted(root.glob(f"*/*/{CARD}")):
        folder, card = path.parent, Card.read(path)
        with tempfile.TemporaryDirectory() as temporary:
            archive = Path(temporary) / "archive.tar"
            pack(folder, archive)
            entry = IndexEntry(
                **describe(card),
                bytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
                card_sha256=file_hash(path),
                archive_sha256=file_hash(archive),
            )
        models.setdefault(card.name, {})[str(card.version)] = asdict(entry)
    return {"schema": SCHEMA, "models": models}


def pages(root: Path) -> dict[Path, str]:
    """Return path -> text of every page that is generated from the cards."""
    cards = [Card.read(path) for path in sorted(root.glob(f"*/*/{CARD}"))]
    texts = {root / card.name / "README.md": model_page(card) for card in cards}
    texts[root / "README.md"] = zoo_page(cards)
    return texts


def refresh(root: Path, index: Path, *, check: bool = False) -> list[Path]:
    """Rewrite the index and the pages, or only compare (`check`); return the differing paths."""
    fresh = build_index(root)
    stale = []
    if not index.exists() or json.loads(index.read_text()) != fresh:
        stale.append(index)
    texts = pages(root)
    stale += [p for p, text in texts.items() if not p.exists() or p.read_text() != text]
    if not check:
        write_json(index, fresh)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    return stale


NOTE = "<!-- made from card.json by python -m zoo index; do not edit -->\n"


def zoo_page(cards: Sequence[Card]) -> str:
    """Return the list of all models."""
    lines = [
        NOTE,
        "# The zoo",
        "",
        "| model | kind | data set | clean | robust | at eps | under | n | parameters |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for card in cards:
        clean = _percent(card.clean_accuracy)
        robust = card.strongest_attack
        eps = f"{card.threat['eps']:.4g}" if card.threat else ""
        lines.append(
            f"| [{card.name}]({card.name}/README.md) {card.version} | {card.kind} | "
            f"{card.dataset} | {clean} | {_percent(robust.accuracy)} | {eps} | {_attack(robust)} | "
            f"{robust.examples:,} | {card.parameters:,} |"
        )
    lines += [
        "",
        "Robust: the lowest accuracy measured end-to-end under any attack on the card, at the eps "
        "beside it (images in [0, 1]). Rows of different eps do not compare.",
    ]
    return "\n".join(lines) + "\n"


def model_page(card: Card) -> str:
    """Return one model's page."""
    threat = card.threat
    article = "An" if card.kind[0] in "aeiou" else "A"
    inside = f", carrying its source classifier `{card.classifier.name}`" if card.classifier else ""
    lines = [
        NOTE,
        f"# {card.name}, version {card.version}",
        "",
        f"{article} {card.kind} for {card.dataset} (`{card.model.architecture}`, "
        f"{card.parameters:,} parameters){inside}.",
        "",
    ]
    if threat:
        lines += [
            f"Threat model: {threat['norm']}, eps {threat['eps']:.4g} (images in [0, 1]).",
            "",
        ]
    lines += [
        "| classifier | attack | accuracy | 95 % interval | n | paper |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(m) for m in card.measured]
    lines += ["", f"Trained by `{card.training.get('command', '')}`", ""]
    if recipe := card.training.get("recipe"):
        lines += [f"Recipe: `{json.dumps(recipe)}`", ""]
    lines += [f"Measure again: `python -m zoo verify {card.name}`", "", "Caveats:", ""]
    lines += [f"- {caveat}" for caveat in card.caveats]
    return "\n".join(lines) + "\n"


def _attack(m: Measurement) -> str:
    return m.attack + (f"-{m.steps}" if m.steps else "")


def _row(m: Measurement) -> str:
    attack = _attack(m) + (f", step {m.step_size:.4g}" if m.steps else "")
    low, high = m.interval95
    paper = _percent(m.paper) if m.paper is not None else ""
    return (
        f"| {m.defended} | {attack} | {_percent(m.accuracy)} | {_percent(low)} to {_percent(high)} "
        f"| {m.examples:,} | {paper} |"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
