"""Who is classified correctly, clean and under attack, example by example.

Attacks are not trusted: what they return is checked against the ball, and scored again in
float32, whatever precision it was crafted in.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._engine.compilation import compiled
from keras_aaa.attacks._pgd import pgd, random_start
from keras_aaa.checks import check_number, lookup
from keras_aaa.defence import Defence
from keras_aaa.evaluation.batch_size import fastest_batch
from keras_aaa.evaluation.map_threaded import BATCHES, map_threaded
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.inputs import check_batch, check_labels
from keras_aaa.threat_model import ThreatModel

BATCH = 250
SEEDS_APART = 1_000_003  # more than there are batches, so that no two seeds share a draw
PROBED_STEPS = 2  # of PGD, to find the fastest batch size


@dataclass(frozen=True)
class PgdTest:
    """The papers' test: PGD from one random start, scored after each number of steps.

    Args:
        steps: rising numbers of steps, (40, 200) for example; one run of the longest gives all.
        step_size: image units, > 0.
        seed: of the random starts.
    """

    steps: tuple[int, ...]
    step_size: float
    seed: int = 0

    def __post_init__(self):
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 1:
            raise ValueError(f"steps: expected rising numbers from 1 on, got {self.steps}.")
        check_number("step_size", self.step_size, 0, above=True)


def correct(defence: Defence, images, labels) -> np.ndarray:
    """Return bool [n]: which images the defence classifies as their label.

    Args:
        defence: keras.Model or callable: images -> logits, computing in float32.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].

    Raises:
        TypeError, ValueError: for images or labels that are not as above.
    """
    images, labels = check_batch(images, labels, defence)
    if not len(labels):
        return np.zeros(0, bool)
    logits = logits_in_batches(defence, images)
    check_labels(labels, logits.shape[1])  # a callable does not tell before
    return np.argmax(logits, axis=-1) == labels.numpy()


def logits_in_batches(defence: Defence, images) -> np.ndarray:
    """Return the defence's logits, float32 [n, classes], of images [n, h, w, c]; n >= 1."""
    parts = [
        compiled(defence, _logits_graph)(tf.gather(images, batch))[:count]
        for batch, count in _batches(len(images), BATCH)
    ]
    return np.concatenate(parts)


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
    """Return who is classified correctly, bool [n], clean (None) and after each number of steps.

    Who is wrong without an attack, or has fallen after fewer steps, is wrong after more, and is not
    attacked further. Batches are as large as is fastest here; each example's random start is its
    own, whatever the batch.

    Args:
        defence: keras.Model or callable: images -> logits, in float32.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        threat: the ball.
        test: steps, step size, seed.
        precision: "float32" or "bfloat16", of crafting; the score is in float32 all the same.
        start: images [n, h, w, c] to begin from, in the ball; None draws them from the test's seed.
        on_batch: called with examples times steps, after each batch and for those left out.
        judge: who classifies what was crafted on `defence`, where that is only a part of the whole
            or stands in for it; None for the defence itself.

    Raises:
        RuntimeError: if the attack left the ball.
        TypeError, ValueError: for images or labels that are not as above.
    """
    judge = defence if judge is None else judge
    images, labels = check_batch(images, labels, defence)
    clean = correct(judge, images, labels)
    alive, done = np.flatnonzero(clean), 0
    survived: dict[int | None, np.ndarray] = {None: clean}
    on_batch((len(labels) - len(alive)) * test.steps[-1])
    if not len(alive):
        return survived | dict.fromkeys(test.steps, clean)
    crafting = fast_copy(defence, precision)
    common = {"threat": threat, "step_size": test.step_size}

    def probed(size):
        x, y = (tf.gather(tensor, alive[:size]) for tensor in (images, labels))
        return pgd(crafting, x, y, steps=PROBED_STEPS, **common).numpy()

    def probe(size):
        list(map_threaded(probed, [size] * BATCHES))

    batch = fastest_batch(probe, -(-len(alive) // BATCHES))
    if start is None:
        start = random_start(images, threat, test.seed)
    start = tf.gather(start, alive)
    for steps in test.steps:
        x, y = tf.gather(images, alive), tf.gather(labels, alive)

        def attack(x, y, picked, index, start=start, steps=steps - done):
            return pgd(crafting, x, y, steps=steps, start=tf.gather(start, picked), **common)

        def report(count, steps=steps - done):
            on_batch(count * steps)

        x_adv = craft(attack, x, y, threat, report, batch)
        standing = correct(judge, x_adv, y)
        alive, start, done = alive[standing], x_adv[standing], steps
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
    """Return the adversarial images of an attack that is run batch by batch, two at a time.

    Args:
        attack: attack(x, y, picked, index) -> x_adv, in any thread; `picked` are the examples'
            indices, `index` counts the batches.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n].
        threat: the ball, which is checked.
        on_batch: called after each batch with its number of examples.
        batch: how many examples at a time.

    Raises:
        RuntimeError: if the attack left the ball.
    """
    x_adv = np.empty(images.shape, np.float32)
    batches = list(enumerate(_batches(len(labels), batch)))

    def one(numbered):
        index, (picked, _) = numbered
        return attack(tf.gather(images, picked), tf.gather(labels, picked), picked, index)

    for (index, (_, count)), found in zip(batches, map_threaded(one, batches), strict=True):
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
    crafting = fast_copy(defence, precision)
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


def _batches(examples: int, batch: int) -> Iterator[tuple[np.ndarray, int]]:
    """Indices of batches of one size, the last one filled up by repeating, and their true size."""
    for begin in range(0, examples, batch):
        count = min(batch, examples - begin)
        size = count if examples < batch else batch
        yield begin + np.arange(size) % count, count


def _logits_graph(logits):
    return logits
