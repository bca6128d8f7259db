"""Measure again what a card claims."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_aaa import data, defend
from keras_aaa.evaluation import PgdTest, correct, survive_pgd
from keras_aaa.models.precision import choose_precision
from keras_aaa.results import Accuracy
from keras_aaa.threat_model import ThreatModel
from zoo import artefact, store
from zoo.card import Card


@dataclass(frozen=True)
class Check:
    """One claim of a card and its re-measurement; accuracies are fractions.

    `tolerance` is half the 95 % interval of the measurement: an accuracy that is farther from the
    claimed one does not hold.
    """

    defended: str
    attack: str
    steps: int | None
    claimed: float
    measured: float
    tolerance: float
    examples: int

    @property
    def holds(self) -> bool:
        """Whether the measurement confirms the claim."""
        return abs(self.measured - self.claimed) <= self.tolerance


def verify_card(
    found: store.Found, *, examples: int | None = None, data_dir: str | None = None
) -> list[Check]:
    """Re-measure every clean and PGD accuracy on an artefact's card.

    Args:
        found: the artefact.
        examples: the first so many test examples; as many as on the card by default.
        data_dir: folder of prepared TFDS sets.

    Raises:
        IntegrityError: if a file is not the one that was published.
    """
    card = found.card()
    n = examples or max(m.examples for m in card.measured)
    images, labels = data.first(data.load(card.dataset, "test", data_dir), n)
    checks = []
    for defended in dict.fromkeys(m.defended for m in card.measured):
        claims = [m for m in card.measured if m.defended == defended]
        defence = _defence(found, card, defended)
        masks: dict[int | None, np.ndarray] = {None: correct(defence, images, labels)}
        steps = tuple(sorted(m.steps for m in claims if m.steps))
        if steps and card.threat:
            (step_size,) = {m.step_size for m in claims if m.step_size}
            survived = survive_pgd(
                defence,
                images,
                labels,
                threat=ThreatModel(**card.threat),
                test=PgdTest(steps, step_size),
                precision=choose_precision("auto"),
            )
            masks |= {count: mask & masks[None] for count, mask in survived.items()}
        for claim in claims:
            accuracy = Accuracy(int(np.sum(masks[claim.steps])), len(labels))
            low, high = accuracy.interval
            checks.append(
                Check(
                    defended,
                    claim.attack,
                    claim.steps,
                    claim.accuracy,
                    accuracy.value,
                    (high - low) / 2,
                    len(labels),
                )
            )
    return checks


def _defence(found: store.Found, card: Card, defended: str) -> keras.Model:
    """The classifier of that name behind the artefact's autoencoder, or the classifier itself."""

    def read(part: str) -> keras.Model:
        return artefact.read(found.folder(), part=part, card_sha256=found.card_sha256)

    if card.classifier is None:
        return read("model")
    if defended == card.classifier.name:
        return defend(read("model"), read("classifier"))
    target = store.find(defended)
    return defend(read("model"), artefact.read(target.folder(), card_sha256=target.card_sha256))
