"""The card of an artefact: its description and its measured accuracies."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from keras_aaa.hashing import check_hashes
from keras_aaa.models import ModelConfig
from keras_aaa.results import Measurement

SCHEMA = 1
CARD = "card.json"
KINDS = ("autoencoder", "classifier")
NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
VERSION = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Card:
    """The description of an artefact; written by code, read by code and by people.

    Args:
        name, version, kind, dataset: its identity; kind is "autoencoder" or "classifier".
        model: the model that zoo.load returns.
        classifier: for an autoencoder, the source classifier inside the artefact.
        threat: norm and eps (image units) of its training and its measurements, or None.
        training: command, recipe, loss, seed, history, seconds, examples per second. If JAX
            executed the steps: also the JAX version, the device and the number of devices
            (docs/compiled.md).
        provenance: git commit, versions, machine.
        parameters: number of weights of `model`.
        measured: accuracies on the whole test set or on its first n examples.
        caveats: warnings for users, one sentence each.
        files: path within the artefact -> sha256.
        schema: version of this format.
    """

    name: str
    version: int
    kind: str
    dataset: str
    model: ModelConfig
    classifier: ModelConfig | None
    threat: dict | None
    training: dict
    provenance: dict
    parameters: int
    measured: tuple[Measurement, ...]
    caveats: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self):
        check_name(self.name)
        check_version(self.version)
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}.")

    def accuracy(self, attack: str, defended: str | None = None) -> float:
        """Return the measured accuracy under an attack ("clean", "pgd40", ...).

        Raises:
            KeyError: if it was not measured; lists the measured attacks.
        """
        defended = defended or (self.classifier or self.model).name
        table = {m.attack + str(m.steps or ""): m for m in self.measured if m.defended == defended}
        if attack not in table:
            raise KeyError(f"{self.name}: {attack!r} was not measured; measured: {list(table)}.")
        return table[attack].accuracy

    @property
    def strongest_attack(self) -> Measurement:
        """The end-to-end measurement under attack with the lowest accuracy."""
        classifier = (self.classifier or self.model).name
        attacked = [m for m in self.measured if m.defended == classifier and m.attack != "clean"]
        if not attacked:
            raise KeyError(f"{self.name}: no attack was measured.")
        return min(attacked, key=lambda m: m.accuracy)

    @property
    def robust_accuracy(self) -> float:
        """The lowest accuracy measured end-to-end under any attack, the headline figure."""
        return self.strongest_attack.accuracy

    @property
    def clean_accuracy(self) -> float:
        """The accuracy without an attack."""
        return self.accuracy("clean")

    def to_json(self) -> dict:
        """Return the JSON form."""
        measured = [measurement.to_json() for measurement in self.measured]
        return {**dataclasses.asdict(self), "measured": measured}

    @classmethod
    def from_json(cls, data: dict) -> "Card":
        """Read the JSON form.

        Raises:
            ValueError: for a newer schema, or fields that are missing or unknown.
        """
        schema = data.get("schema")
        if not isinstance(schema, int) or schema > SCHEMA:
            raise ValueError(
                f"Card {data.get('name')!r} has schema {schema}; this version of the zoo reads up "
                f"to schema {SCHEMA}. Upgrade keras_aaa."
            )
        try:
            measured = tuple(Measurement.from_json(each) for each in data["measured"])
            classifier = data["classifier"]
            fixed = {
                "model": ModelConfig(**data["model"]),
                "classifier": ModelConfig(**classifier) if classifier else None,
                "measured": measured,
                "caveats": tuple(data["caveats"]),
            }
            return cls(**{**data, **fixed})
        except (KeyError, TypeError) as error:
            raise ValueError(f"Card {data.get('name')!r} is not a valid card: {error}.") from error

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read a card.json.

        Raises:
            ValueError: if the file is not JSON; also as from_json().
        """
        try:
            data = json.loads(Path(path).read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error
        return cls.from_json(data)


def verified_card(folder: Path, card_sha256: str | None = None) -> Card:
    """Verify every file of an artefact and return its card.

    Args:
        folder: the artefact.
        card_sha256: the index's hash of card.json, or None for a zoo without an index.

    Raises:
        IntegrityError: if a file is missing or differs from the published one.
        ValueError: if the card cannot be read.
    """
    if card_sha256 is not None:
        check_hashes(folder, {CARD: card_sha256})
    card = Card.read(folder / CARD)
    check_hashes(folder, card.files)
    return card


def check_name(name: str) -> str:
    """Return the name; raise ValueError unless it is lower-case words joined by underscores."""
    if not (isinstance(name, str) and NAME.fullmatch(name) and len(name) <= 80):
        raise ValueError(
            f"name: expected lower-case letters and digits joined by underscores, got {name!r}."
        )
    return name


def check_version(version: int | str) -> int:
    """Return the version as a number; raise ValueError unless it is a whole number from 1 on."""
    if isinstance(version, bool) or not VERSION.fullmatch(str(version)):
        raise ValueError(f"version: expected a whole number from 1 on, got {version!r}.")
    return int(version)
