"""Measure which examples a defence classifies correctly, clean and under attack.

Attacks are not trusted: their images are checked against the ball and scored again in float32.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_aaa.answers import check_answers
from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._pgd import pgd, random_start
from keras_aaa.checks import check_number, int32_seed, lookup
from keras_aaa.defence import Defence
from keras_aaa.evaluation.batch_size import fastest_batch
from keras_aaa.evaluation.doubts import unattackable, warn_of_doubts
from keras_aaa.evaluation.map_threaded import BATCHES, map_threaded
from keras_aaa.evaluation.score import BATCH, batches, correct, resists
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.inputs import check_batch
from keras_aaa.threat_model import ThreatModel

SEEDS_APART = 1_000_003  # more than there are batches, so that no two seeds share a draw
PROBED_STEPS = 2  # of PGD, to find the fastest batch size


@dataclass(frozen=True)
class PgdTest:
    """PGD from one random start, scored after several numbers of steps. Paper: AAA, all tables.

    Args:
        steps: rising numbers of steps, for example (40, 200). One run gives all of them.
        step_size: in image units, > 0.
        seed: of the random starts.
    """

    steps: tuple[int, ...]
    step_size: float
    seed: int = 0

    def __post_init__(self):
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 1:
            raise ValueError(f"steps: expected rising numbers from 1 on, got {self.steps}.")
        check_number("step_size", self.step_size, 0, above=True)
        int32_seed(self.seed)


def survive_pgd(
    defence: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    test: PgdTest,
    precision: str = "float32",
    start: tf.Tensor | None = None,
    on_batch: Callable[[int], None] = lambda done: None,
    judge: Defence | None = None,
) -> dict[int | None, np.ndarray]:
    """Return masks of correct examples, bool [n]: clean (key None) and after each number of steps.

    An example misclassified clean or after fewer steps counts as misclassified after more steps
    and is skipped. The batch size is the fastest on this machine. Random starts depend on the
    seed and the index of the example, not on the batch.

    Args:
        defence: keras.Model or callable: images -> logits, in float32.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        threat: the ball.
        test: steps, step size, seed.
        precision: "float32" or "bfloat16", of crafting. Scores are always in float32.
        start: images [n, h, w, c] in the ball to start from; None draws them from the test's seed.
        on_batch: called with the number of examples times steps that are done or skipped.
        judge: the defence that scores the images, if it differs from the attacked `defence`.

    Raises:
        RuntimeError: if the attack left the ball.
        TypeError, ValueError: for images or labels that are not as above.
    """
    judge = defence if judge is None else judge
    images, labels = check_batch(images, labels, defence)
    if len(labels):
        check_answers(defence, images)
    warn_of_doubts(defence, images, labels)
    clean = correct(judge, images, labels)
    alive, done = np.flatnonzero(clean), 0
    broken = unattackable(defence, tf.gather(images, alive), tf.gather(labels, alive))
    alive = alive[~broken]
    survived: dict[int | None, np.ndarray] = {None: clean}
    on_batch((len(labels) - len(alive)) * test.steps[-1])
    if not len(alive):
        return survived | dict.fromkeys(test.steps, np.zeros(len(labels), bool))
    crafting = fast_copy(defence, precision, images=images)
    common = {"threat": threat, "step_size": test.step_size}

    def probed(size):
        x, y = (tf.gather(tensor, alive[:size]) for tensor in (images, labels))
        return pgd(crafting, x, y, steps=PROBED_STEPS, **common).numpy()

    def probe(size):
        list(map_threaded(probed, [size] * BATCHES))

    batch = fastest_batch(probe, -(-len(alive) // BATCHES))
    if start is None:
        start = random_start(images, threat, int32_seed(test.seed))
    start = tf.gather(start, alive)
    for steps in test.steps:
        x, y = tf.gather(images, alive), tf.gather(labels, alive)

        def attack(x, y, picked, index, start=start, steps=steps - done):
            return pgd(crafting, x, y, steps=steps, start=tf.gather(start, picked), **common)

        def report(count, steps=steps - done):
            on_batch(count * steps)

        x_adv = craft(attack, x, y, threat, report, batch)
        survivors = resists(judge, x_adv, y)
        alive, start, done = alive[survivors], x_adv[survivors], steps
        survived[steps] = np.zeros(len(labels), bool)
        survived[steps][alive] = True
    return survived


def craft(
    attack: Callable[..., tf.Tensor],
    images: tf.Tensor,
    labels: tf.Tensor,
    threat: ThreatModel,
    on_batch: Callable[[int], None] = lambda done: None,
    batch: int = BATCH,
) -> np.ndarray:
    """Return the adversarial images of an attack, crafted batch by batch.

    Args:
        attack: attack(x, y, picked, index) -> x_adv, called in several threads. `picked` holds the
            indices of the examples, `index` is the number of the batch.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n].
        threat: the ball; the images are checked against it.
        on_batch: called after each batch with its number of examples.
        batch: batch size.

    Raises:
        RuntimeError: if the attack left the ball.
    """
    x_adv = np.empty(images.shape, np.float32)
    numbered = list(enumerate(batches(len(labels), batch)))

    def one(item):
        index, (picked, _) = item
        return attack(tf.gather(images, picked), tf.gather(labels, picked), picked, index)

    for (index, (_, count)), found in zip(numbered, map_threaded(one, numbered), strict=True):
        x_adv[index * batch : index * batch + count] = found[:count]
        on_batch(count)
    if not threat.contains(x_adv, images).all():
        raise RuntimeError("The attack returned images outside its own ball; this is a bug.")
    return x_adv


def attack_all(
    defence: Defence,
    name: str,
    images,
    labels,
    *,
    threat: ThreatModel,
    parameters: Mapping[str, object] | None = None,
    seed: int = 0,
    precision: str = "float32",
    on_batch: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Return the adversarial images of an attack, float32 [n, h, w, c], for any number of examples.

    PGD starts each example at a random point of its own, drawn from the seed and the example's
    index. Another attack draws from the seed and the index of the batch, whose size is fixed.

    Args:
        defence: keras.Model or callable: images -> logits.
        name: of the attack, in keras_aaa.attacks.ATTACKS.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n].
        threat: the ball.
        parameters: the attack's own, by name.
        seed: of whatever it draws at random.
        precision: "float32" or "bfloat16", of crafting.
        on_batch: called after each batch with its number of examples.

    Raises:
        RuntimeError: if the attack left the ball.
        TypeError, ValueError: for images, labels or settings that are not as above.

    Example:
        x_adv = attack_all(model, "apgd", images, labels, threat=threat, parameters={"steps": 50})
    """
    function = lookup("attack", name, ATTACKS)
    images, labels = check_batch(images, labels, defence, threat)
    if len(labels):
        check_answers(defence, images)
    warn_of_doubts(defence, images, labels)
    crafting = fast_copy(defence, precision, images=images)
    seed = int32_seed(seed)
    start = random_start(images, threat, seed) if function is pgd else None
    seeded = "seed" in inspect.signature(function).parameters

    def attack(x, y, picked, index):
        own: dict[str, object] = {}
        if start is not None:
            own["start"] = tf.gather(start, picked)
        elif seeded:
            own["seed"] = seed * SEEDS_APART + index
        return function(crafting, x, y, threat=threat, **(parameters or {}), **own)

    return craft(attack, images, labels, threat, on_batch)
