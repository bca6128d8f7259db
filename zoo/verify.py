"""Re-measure the accuracies that a card claims."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_aaa import data, defend
from keras_aaa.checks import lookup
from keras_aaa.evaluation import PgdTest, autoattack, correct, survive_pgd
from keras_aaa.fast.precision import choose_precision
from keras_aaa.results import Measurement
from keras_aaa.threat_model import ThreatModel, threat_for
from zoo import artefact, versions
from zoo.card import Card

Masks = dict[tuple[str, int | None], np.ndarray]  # attack, steps -> correctly classified


@dataclass(frozen=True)
class Check:
    """One claim of a card and its re-measurement; accuracies are fractions.

    `tolerance` is the longer side of the measurement's confidence interval. Its level is 95 % for
    all claims of the card at once. A claim does not hold if the two accuracies differ by more.
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
    found: versions.ModelVersion,
    *,
    examples: int | None = None,
    attack: str = "pgd",
    data_dir: str | None = None,
) -> list[Check]:
    """Re-measure the clean accuracies on an artefact's card and the accuracies under one attack.

    Args:
        found: the artefact.
        examples: number of test examples, the first ones; by default the card's number for each
            accuracy.
        attack: "pgd" or "autoattack".
        data_dir: folder of prepared TFDS sets.

    Raises:
        ValueError: for an unknown attack, or one without an accuracy on the card.
        IntegrityError: if a file differs from the published one.
    """
    attacks = {"pgd": _survive_pgd, "autoattack": _survive_autoattack}
    survive = lookup("attack", attack, attacks)
    card = found.card()
    claims = [m for m in card.measured if m.attack in ("clean", attack)]
    if all(m.attack == "clean" for m in claims):
        raise ValueError(f"{card.name}: the card has no accuracy under {attack}.")
    largest = examples or max(m.examples for m in claims)
    images, labels = data.first(data.load(card.dataset, "test", data_dir), largest)
    threat = ThreatModel(**card.threat) if card.threat else threat_for(card.dataset)
    checks = []
    for defended in dict.fromkeys(m.defended for m in claims if m.attack == attack):
        stated = [m for m in claims if m.defended == defended]
        defence = _defence(found, card, defended)
        counts = {m: examples or m.examples for m in stated}
        for n in sorted(set(counts.values()), reverse=True):
            x, y = images[:n], labels[:n]
            # PGD with fewer steps is run too: an example misclassified after fewer steps counts as
            # misclassified after more.
            run = [m for m in stated if counts[m] >= n]
            if any(m.attack == attack for m in run):
                survived = survive(defence, x, y, threat, run)
            else:
                survived = {("clean", None): correct(defence, x, y)}
            for claim in (m for m in stated if counts[m] == n):
                measurement = Measurement.of(survived[claim.attack, claim.steps])
                checks.append(
                    Check(
                        defended,
                        claim.attack,
                        claim.steps,
                        claim.accuracy,
                        measurement.accuracy,
                        measurement.error_margin(len(claims)),
                        len(y),
                    )
                )
    return checks


def _survive_pgd(defence, images, labels, threat, claims) -> Masks:
    counts = tuple(sorted(m.steps for m in claims if m.steps))
    (step_size,) = {m.step_size for m in claims if m.step_size}
    test = PgdTest(counts, step_size)
    precision = _precision(claims)
    survived = survive_pgd(defence, images, labels, threat=threat, test=test, precision=precision)
    return {("clean" if s is None else "pgd", s): mask for s, mask in survived.items()}


def _survive_autoattack(defence, images, labels, threat, claims) -> Masks:
    masks = autoattack(defence, images, labels, threat=threat, precision=_precision(claims))
    return {("clean", None): masks["clean"], ("autoattack", None): masks["square"]}


def _precision(claims) -> str:
    """Return the claims' crafting precision, or float32 if this machine has no bfloat16."""
    crafted = {m.crafting for m in claims} - {None}
    return choose_precision("auto") if crafted == {"bfloat16"} else "float32"


def _defence(found: versions.ModelVersion, card: Card, defended: str) -> keras.Model:
    """Return the artefact's autoencoder before the named classifier, or a classifier alone."""

    def read(part: str) -> keras.Model:
        return artefact.read(found.folder(), part=part, card_sha256=found.card_sha256)

    if card.classifier is None:
        return read("model")
    if defended == card.classifier.name:
        return defend(read("model"), read("classifier"))
    target = versions.find(defended)
    return defend(read("model"), artefact.read(target.folder(), card_sha256=target.card_sha256))
