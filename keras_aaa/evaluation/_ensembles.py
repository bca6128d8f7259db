"""The versions of AutoAttack as data: which attacks they run, in which order, with what settings.

Croce and Hein 2020, section 6; l1: Croce and Hein 2021, "Mind the box". The numbers are those of
the reference implementation.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from keras_aaa.attacks._apgd import apgd
from keras_aaa.attacks._fab import fab
from keras_aaa.attacks._square import square
from keras_aaa.attacks.losses import ranked_targets
from keras_aaa.defence import Defence
from keras_aaa.evaluation.score import logits_in_batches
from keras_aaa.norms import NORMS
from keras_aaa.threat_model import ThreatModel

ROUNDS = 10  # of Square; misclassified examples leave between rounds
# Indices of the examples to attack -> their adversarial images.
Attack = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stage:
    """One attack of the ensemble.

    Args:
        attack: apgd, fab or square.
        targets: number of wrong classes to try, the nearest ones first; 0 for an untargeted attack.
        settings: of the attack, by name.
    """

    attack: Callable
    targets: int = 0
    settings: Mapping[str, str | int] = field(default_factory=dict)


_CE, _DLR = Stage(apgd, settings={"loss": "ce"}), Stage(apgd, settings={"loss": "dlr"})
_APGD_T, _FAB_T = Stage(apgd, 9, {"loss": "targeted_dlr"}), Stage(fab, 9)


def _with(stage: Stage, **settings) -> Stage:
    return replace(stage, settings={**stage.settings, **settings})


_STANDARD = {"apgd_ce": _CE, "apgd_t": _APGD_T, "fab_t": _FAB_T, "square": Stage(square)}
_STANDARD_L1 = _STANDARD | {
    "apgd_ce": _with(_CE, restarts=5),
    "apgd_t": replace(_APGD_T, targets=5),
}
_PLUS = {
    "apgd_ce": _with(_CE, restarts=5),
    "apgd_dlr": _with(_DLR, restarts=5),
    "fab": Stage(fab, settings={"restarts": 5}),
    "square": Stage(square),
    "apgd_t": _APGD_T,
    "fab_t": _FAB_T,
}
_RAND = {"apgd_ce": _with(_CE, draws=20), "apgd_dlr": _with(_DLR, draws=20)}
NAMES = tuple(_PLUS)
# version -> norm -> name -> stage, in the order in which they run
VERSIONS: dict[str, dict[str, dict[str, Stage]]] = {
    "standard": {"linf": _STANDARD, "l2": _STANDARD, "l1": _STANDARD_L1},
    "plus": dict.fromkeys(NORMS, _PLUS),
    "rand": dict.fromkeys(NORMS, _RAND),
}
# loss -> number of classes that it needs, and the loss to take if there are fewer
NEEDS = {"dlr": (3, "margin"), "targeted_dlr": (4, "targeted_margin")}


def ensemble(version: str, norm: str, attacks: tuple[str, ...] = ()) -> dict[str, Stage]:
    """Return the stages to run, by name.

    Args:
        version: a key of VERSIONS.
        norm: of the threat model.
        attacks: the names of the stages to run, if not those of the version. A stage that the
            version does not have is as in "plus".
    """
    stages = VERSIONS[version][norm]
    return {name: (_PLUS | stages)[name] for name in attacks} if attacks else stages


def fitting(stages: dict[str, Stage], classes: int) -> tuple[dict[str, Stage], list[str]]:
    """Return the stages for this number of classes, and a message for each change of a loss."""
    fitted, messages = {}, []
    for name, stage in stages.items():
        loss = str(stage.settings.get("loss"))
        needed, instead = NEEDS.get(loss, (0, ""))
        if classes < needed:
            stage = _with(stage, loss=instead)
            messages.append(
                f"{name} takes the loss {instead}, because {loss} needs {needed} classes and the "
                f"model has {classes}."
            )
        fitted[name] = replace(stage, targets=min(stage.targets, classes - 1))
    return fitted, messages


@dataclass(frozen=True)
class Block:
    """The examples that pass all stages together, and what their attacks need.

    Args:
        defence: images -> logits, in float32.
        crafting: the copy of the defence that the gradient attacks attack.
        images, labels: float32 [n, h, w, c] and int64 [n].
        threat: the ball.
        steps, targets, queries, seed: of AutoAttack.
    """

    defence: Defence
    crafting: Defence
    images: np.ndarray
    labels: np.ndarray
    threat: ThreatModel
    steps: int
    targets: int
    queries: int
    seed: int

    @cached_property
    def logits(self) -> np.ndarray:
        """The logits of the clean images, by which the targets are ranked."""
        return logits_in_batches(self.crafting, self.images)

    def attacks(self, stage: Stage) -> list[Attack]:
        """Return the attacks of a stage. Each runs on the examples that the others left."""
        if stage.attack is square:
            return self._rounds()
        settings = {"steps": self.steps, **stage.settings}
        ranks = range(1, min(self.targets, stage.targets) + 1)
        return [self._gradient(stage.attack, settings, rank) for rank in ranks or [0]]

    def _gradient(self, attack: Callable, settings: Mapping, rank: int) -> Attack:
        """Return an attack by gradients, towards the wrong class of this rank, or of none (0)."""
        targets = ranked_targets(self.logits, self.labels, rank).numpy() if rank else None

        def run(i):
            towards = {} if targets is None else {"targets": targets[i]}
            return attack(
                self.crafting,
                self.images[i],
                self.labels[i],
                threat=self.threat,
                seed=self.seed + rank,
                **settings,
                **towards,
            ).numpy()

        return run

    def _rounds(self) -> list[Attack]:
        """Return the rounds of Square, each of which continues from the best images so far.

        Square compares margins whose differences are too small for bfloat16.
        """
        edges = np.unique(np.linspace(0, self.queries, ROUNDS + 1).astype(int))
        best: dict[int, np.ndarray] = {}

        def attack(first, last):
            def run(i):
                found = square(
                    self.defence,
                    self.images[i],
                    self.labels[i],
                    threat=self.threat,
                    queries=self.queries,
                    seed=self.seed,
                    first=int(first),
                    last=int(last),
                    start=np.stack([best[j] for j in i]) if first else None,
                ).numpy()
                # Reversed, so that the first copy counts where padding repeats an example.
                best.update(zip(i[::-1], found[::-1], strict=True))
                return found

            return run

        return [attack(a, b) for a, b in itertools.pairwise(edges)]
