"""AutoAttack: an ensemble of attacks without parameters to tune, worst case per example."""

import itertools
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_aaa.answers import check_answers
from keras_aaa.checks import check_number, lookup
from keras_aaa.defence import Defence
from keras_aaa.evaluation._ensembles import NAMES, VERSIONS, Attack, Block, Stage, ensemble, fitting
from keras_aaa.evaluation.doubts import (
    Doubt,
    unattackable,
    warn_of_doubts,
)
from keras_aaa.evaluation.map_threaded import BATCHES, map_threaded
from keras_aaa.evaluation.score import correct, resists
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.hashing import examples_hash
from keras_aaa.inputs import check_batch
from keras_aaa.results import claim
from keras_aaa.threat_model import ThreatModel

BLOCK = 256  # examples that pass all attacks together; an interrupted run loses at most these
BUCKETS = (8, 16, 32, 64, 96, 112, 120, 128)  # the only batch sizes, to compile few shapes
SQUARE_TAKES = 0.002  # the share that the reference implementation warns of


@dataclass(frozen=True)
class AutoAttack:
    """The settings. The defaults are the reference implementation's.

    Args:
        version: "standard", "plus" (more restarts and untargeted attacks) or "rand" (for random
            defences: the gradient is the mean of 20 draws).
        steps: of APGD and FAB, >= 1.
        targets: wrong classes that the targeted attacks try, >= 1; at most the other classes, and
            at most 5 in APGD-T of the standard version in l1.
        queries: of Square, >= 1.
        seed: of the random starts and squares.
        attacks: names of the attacks to run in this order, if not those of the version: "apgd_ce",
            "apgd_dlr", "apgd_t", "fab", "fab_t", "square".

    Raises:
        TypeError, ValueError: if a setting is not as above.
    """

    version: str = "standard"
    steps: int = 100
    targets: int = 9
    queries: int = 5000
    seed: int = 0
    attacks: tuple[str, ...] = ()

    def __post_init__(self):
        lookup("version of AutoAttack", self.version, VERSIONS)
        for name in self.attacks:
            lookup("attack of AutoAttack", name, dict.fromkeys(NAMES))
        if len(set(self.attacks)) < len(self.attacks):
            raise ValueError(f"autoattack: attacks: expected each once, got {self.attacks}.")
        for name in ("steps", "targets", "queries"):
            check_number(f"autoattack: {name}", getattr(self, name), 1, whole=True)

    def stages(self, threat: ThreatModel) -> dict[str, Stage]:
        """Return the stages in the order in which they run, by name."""
        return ensemble(self.version, threat.norm, self.attacks)


def autoattack(
    defence: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    settings: AutoAttack = AutoAttack(),
    precision: str = "float32",
    workdir: Path | str | None = None,
    identity: str = "",
    on_block: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """Return which examples survive each stage, and the adversarial images.

    A misclassified example is not attacked again. Attacks craft in `precision`. Their images are
    checked against the ball and scored in float32.

    Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks"; in l1: Croce and Hein 2021, "Mind the box".

    Args:
        defence: keras.Model or callable: images -> logits, float32, of two classes or more.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        threat: the ball.
        settings: version, steps, targets, queries, seed, attacks.
        precision: of crafting, "float32" or "bfloat16"; Square always crafts in float32.
        workdir: folder for finished blocks; an interrupted run resumes after them.
        identity: a hash of the defence, so that the blocks of another defence are refused.
        on_block: called after each block with its number of examples.

    Returns:
        Stage -> bool [n], for "clean" and each of settings.stages(threat); the last stage is the
        result. And "x_adv" -> float32 [n, h, w, c]: the misclassified image, or the clean one.

    Raises:
        TypeError, ValueError: for images, labels or a threat that are not as above, a defence of
            one class, or a workdir of another run.
    """
    images, labels = (np.asarray(a) for a in check_batch(images, labels, defence, threat))
    stages = settings.stages(threat)
    if not len(labels):
        return {stage: np.zeros(0, bool) for stage in ("clean", *stages)} | {"x_adv": images}
    stages = _fitted(stages, check_answers(defence, images))
    warn_of_doubts(defence, images, labels, random=settings.version == "rand")
    crafting = fast_copy(defence, precision, images=images)
    key = {
        "identity": identity,
        "data": examples_hash(images, labels),
        "threat": asdict(threat),
        "settings": asdict(settings),
        "precision": precision,
    }
    numbers = {name: getattr(settings, name) for name in ("steps", "targets", "queries", "seed")}
    blocks = []
    for begin in range(0, len(labels), BLOCK):
        x, y = images[begin : begin + BLOCK], labels[begin : begin + BLOCK]
        path = Path(workdir) / f"block{begin}.npz" if workdir else None
        if path:
            claim(path.with_name("run.json"), key)
        if path and path.exists():
            with np.load(path) as stored:
                found = dict(stored)
        else:
            found = _attack_block(Block(defence, crafting, x, y, threat, **numbers), stages)
            if path:
                _save(path, found)
        blocks.append(found)
        on_block(len(y))
    result = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    for before, stage in itertools.pairwise(stages):
        if stage == "square":
            _warn_of_square(float((result[before] & ~result[stage]).mean()))
    return result


def _warn_of_square(taken: float) -> None:
    if taken > SQUARE_TAKES:
        warnings.warn(
            f"Square, which uses no gradient, took {taken:.1%} that the gradient attacks left: "
            "the gradients may be masked, and the robust accuracy too high.",
            Doubt,
            stacklevel=3,
        )


def _fitted(stages: dict[str, Stage], classes: int) -> dict[str, Stage]:
    """Return the stages for this number of classes; warn of each loss that they change."""
    stages, messages = fitting(stages, classes)
    for message in messages:
        warnings.warn(f"AutoAttack: {message}", stacklevel=3)
    return stages


def _attack_block(block: Block, stages: dict[str, Stage]) -> dict[str, np.ndarray]:
    standing = correct(block.defence, block.images, block.labels)
    masks, x_adv = {"clean": standing.copy()}, block.images.copy()
    standing[standing] = ~unattackable(
        block.defence, block.images[standing], block.labels[standing]
    )
    for name, stage in stages.items():
        for attack in block.attacks(stage):
            alive = np.flatnonzero(standing)
            if not len(alive):
                break
            found = _batchwise(attack, alive)
            inside = block.threat.contains(found, block.images[alive])
            if not inside.all():
                raise RuntimeError(f"{name} left its own ball; this is a bug.")
            fell = ~resists(block.defence, found, block.labels[alive])
            standing[alive[fell]] = False
            x_adv[alive[fell]] = found[fell]
        masks[name] = standing.copy()
    return masks | {"x_adv": x_adv}


def _batchwise(attack: Attack, alive: np.ndarray) -> np.ndarray:
    """Attack the examples of these indices in batches, two at a time, padded to fixed sizes."""
    batches = -(-len(alive) // BUCKETS[-1])
    if len(alive) >= BATCHES * BUCKETS[0]:
        batches = max(batches, BATCHES)

    def one(part):
        filled = part[np.arange(_bucket(len(part))) % len(part)]
        return attack(filled)[: len(part)]

    return np.concatenate(list(map_threaded(one, np.array_split(alive, batches))))


def _save(path: Path, block: dict[str, np.ndarray]) -> None:
    temporary = path.with_name(f"writing-{path.name}")
    np.savez(temporary, **block)  # type: ignore[arg-type]
    temporary.replace(path)


def _bucket(examples: int) -> int:
    return next(size for size in BUCKETS if size >= examples)
