"""AutoAttack, standard version: APGD-CE, APGD-T, FAB-T, Square, worst case per example."""

import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_aaa.answers import check_answers
from keras_aaa.attacks._apgd import apgd
from keras_aaa.attacks._engine.preamble import check_norm
from keras_aaa.attacks._fab import fab
from keras_aaa.attacks._square import square
from keras_aaa.attacks.losses import ranked_targets
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.evaluation.doubts import Doubt, unattackable, warn_of_doubts
from keras_aaa.evaluation.map_threaded import BATCHES, map_threaded
from keras_aaa.evaluation.score import correct, logits_in_batches, resists
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.hashing import examples_hash
from keras_aaa.inputs import check_batch
from keras_aaa.results import write_json
from keras_aaa.threat_model import ThreatModel

BLOCK = 256  # examples that pass all attacks together; an interrupted run loses at most these
BUCKETS = (8, 16, 32, 64, 96, 112, 120, 128)  # the only batch sizes, to compile few shapes
AUTOATTACK_NORMS = ("linf",)
SQUARE_TAKES = 0.002  # the share that the reference implementation warns of
STAGES = ("clean", "apgd_ce", "apgd_t", "fab_t", "square")


@dataclass(frozen=True)
class AutoAttack:
    """The settings of the standard version. Croce and Hein 2020, section 6.

    Args:
        steps: of APGD and FAB, >= 1.
        targets: classes that the targeted attacks try, >= 1; at most the other classes.
        queries: of Square, >= 1.
        seed: of the random starts and squares.
    """

    steps: int = 100
    targets: int = 9
    queries: int = 5000
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "targets", "queries"):
            check_number(f"autoattack: {name}", getattr(self, name), 1, whole=True)


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

    Args:
        defence: keras.Model or callable: images -> logits, float32.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        threat: an l-infinity ball.
        settings: steps, targets, queries, seed.
        precision: of crafting, "float32" or "bfloat16"; Square always crafts in float32.
        workdir: folder for finished blocks; an interrupted run resumes after them.
        identity: a hash of the defence, so that the blocks of another defence are refused.
        on_block: called after each block with its number of examples.

    Returns:
        Stage ("clean", "apgd_ce", "apgd_t", "fab_t", "square") -> bool [n], and "x_adv" ->
        float32 [n, h, w, c]: the misclassified image, or the clean one.

    Raises:
        TypeError, ValueError: for images, labels or a threat that are not as above, or a workdir
            of another run.
    """
    images, labels = (np.asarray(a) for a in check_batch(images, labels, defence))
    check_norm("autoattack", AUTOATTACK_NORMS, threat)
    if len(labels):
        check_answers(defence, images)
        warn_of_doubts(defence, images, labels)
    crafting = fast_copy(defence, precision, images=images)
    key = {
        "identity": identity,
        "data": examples_hash(images, labels),
        "threat": asdict(threat),
        "settings": asdict(settings),
        "precision": precision,
    }
    blocks = []
    for begin in range(0, len(labels), BLOCK):
        x, y = images[begin : begin + BLOCK], labels[begin : begin + BLOCK]
        path = Path(workdir) / f"block{begin}.npz" if workdir else None
        if path:
            _claim(path.parent, key)
        if path and path.exists():
            with np.load(path) as stored:
                block = dict(stored)
        else:
            block = _attack_block(defence, crafting, x, y, threat, settings)
            if path:
                _save(path, block)
        blocks.append(block)
        on_block(len(y))
    if not blocks:
        return {stage: np.zeros(0, bool) for stage in STAGES} | {"x_adv": images}
    result = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    taken = float((result["fab_t"] & ~result["square"]).mean())
    if taken > SQUARE_TAKES:
        warnings.warn(
            f"Square, which uses no gradient, took {taken:.1%} that the gradient attacks left: "
            "the gradients may be masked, and the robust accuracy too high.",
            Doubt,
            stacklevel=2,
        )
    return result


def _attack_block(defence, crafting, images, labels, threat, settings) -> dict[str, np.ndarray]:
    standing = correct(defence, images, labels)
    block, x_adv = {"clean": standing.copy()}, images.copy()
    standing[standing] = ~unattackable(defence, images[standing], labels[standing])
    for stage, attacks in _stages(defence, crafting, images, labels, threat, settings):
        for attack in attacks:
            alive = np.flatnonzero(standing)
            if not len(alive):
                break
            found = _batchwise(attack, alive)
            inside = threat.contains(found, images[alive])
            if not inside.all():
                raise RuntimeError(f"{stage} left its own ball; this is a bug.")
            fell = ~resists(defence, found, labels[alive])
            standing[alive[fell]] = False
            x_adv[alive[fell]] = found[fell]
        block[stage] = standing.copy()
    return block | {"x_adv": x_adv}


def _batchwise(attack: Callable, alive: np.ndarray) -> np.ndarray:
    """Attack the examples of these indices in batches, two at a time, padded to fixed sizes."""
    batches = -(-len(alive) // BUCKETS[-1])
    if len(alive) >= BATCHES * BUCKETS[0]:
        batches = max(batches, BATCHES)

    def one(part):
        filled = part[np.arange(_bucket(len(part))) % len(part)]
        return np.asarray(attack(filled))[: len(part)]

    return np.concatenate(list(map_threaded(one, np.array_split(alive, batches))))


def _stages(
    defence, crafting, images, labels, threat, settings
) -> Iterator[tuple[str, list[Callable]]]:
    """Yield each stage and its attacks. An attack takes the indices of the examples to attack."""
    common = {"threat": threat, "steps": settings.steps}
    classes = logits_in_batches(crafting, images)
    ranks = range(1, min(settings.targets, classes.shape[1] - 1) + 1)
    targets = {rank: ranked_targets(classes, labels, rank).numpy() for rank in ranks}

    def apgd_ce(i):
        return apgd(crafting, images[i], labels[i], seed=settings.seed, **common)

    def apgd_t(rank):
        return lambda i: apgd(
            crafting,
            images[i],
            labels[i],
            loss="targeted_dlr",
            targets=targets[rank][i],
            seed=settings.seed + rank,
            **common,
        )

    def fab_t(rank):
        return lambda i: fab(crafting, images[i], labels[i], targets=targets[rank][i], **common)

    yield "apgd_ce", [apgd_ce]
    yield "apgd_t", [apgd_t(rank) for rank in ranks]
    yield "fab_t", [fab_t(rank) for rank in ranks]
    # Square compares margins whose differences are too small for bfloat16.
    yield "square", _square_rounds(defence, images, labels, threat, settings)


def _square_rounds(defence, images, labels, threat, settings) -> list[Callable]:
    """Square in rounds; misclassified examples leave between rounds, the others keep their best."""
    edges = np.unique(np.linspace(0, settings.queries, 11).astype(int))
    best: dict[int, np.ndarray] = {}

    def attack(first, last):
        def run(i):
            start = np.stack([best[j] for j in i]) if first else None
            found = square(
                defence,
                images[i],
                labels[i],
                threat=threat,
                queries=settings.queries,
                seed=settings.seed,
                first=int(first),
                last=int(last),
                start=start,
            ).numpy()
            # Reversed, so that the first copy counts where padding repeats an example.
            best.update(zip(i[::-1], found[::-1], strict=True))
            return found

        return run

    return [attack(a, b) for a, b in itertools.pairwise(edges)]


def _save(path: Path, block: dict[str, np.ndarray]) -> None:
    temporary = path.with_name(f"writing-{path.name}")
    np.savez(temporary, **block)  # type: ignore[arg-type]
    temporary.replace(path)


def _bucket(examples: int) -> int:
    return next(size for size in BUCKETS if size >= examples)


def _claim(folder: Path, key: dict) -> None:
    path = folder / "run.json"
    if not path.exists():
        write_json(path, key)
    elif differing := [k for k, v in json.loads(path.read_text()).items() if v != key[k]]:
        raise ValueError(
            f"workdir: {folder} holds another run: {', '.join(differing)} differ. Choose another, "
            "or delete it."
        )
