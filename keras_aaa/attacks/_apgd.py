"""Auto-PGD: PGD with an automatic step size."""

import math
from dataclasses import replace

import tensorflow as tf

from keras_aaa.attacks._engine.apgd_rules import RULES
from keras_aaa.attacks._engine.loop import ascend, expectation, or_random
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks._engine.restarts import with_restarts
from keras_aaa.attacks.losses import TARGETED, UNTARGETED, margin
from keras_aaa.checks import check_number, lookup
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel

LOSSES = UNTARGETED | TARGETED
# Factor of eps and share of the steps of each phase. A phase starts at the best point of the
# phase before it. Croce and Hein 2021, section 3.3.
PHASES = {
    "linf": ((1.0, 1.0),),
    "l2": ((1.0, 1.0),),
    "l1": ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4)),
}


@attack()
def apgd(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int = 100,
    loss: str = "ce",
    targets=None,
    restarts: int = 1,
    draws: int = 1,
    seed: int = 0,
) -> tf.Tensor:
    """Return adversarial images: a misclassified one if any was met, else the one of highest loss.

    Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", algorithm 1. In l1: Croce and Hein 2021, "Mind the box: l1-APGD for
    sparse adversarial attacks on image classifiers", algorithm 1, in balls of 3, 2 and 1 times
    eps. An image whose gradient is exactly zero takes a step in a random direction. The defaults
    are the reference implementation's.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.
        steps: number of gradient steps, >= 1.
        loss: "ce" (cross-entropy), "dlr" or "margin"; with `targets` "targeted_dlr" or
            "targeted_margin". "dlr" needs three classes or more, "targeted_dlr" four.
        targets: int64 [n], the classes to be mistaken for; None for an untargeted loss.
        restarts: number of random starts, >= 1; images still classified correctly try the next.
        draws: calls of the model over which a step averages the loss and its gradient, >= 1; more
            than one for random defences (20 in AutoAttack).
        seed: of the random starts.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    lookup("loss", loss, LOSSES)
    check_number("steps", steps, 1, whole=True)
    check_number("draws", draws, 1, whole=True)
    if (targets is None) == (loss in TARGETED):
        raise ValueError(f"targets: expected with {' or '.join(TARGETED)}, and only with them.")
    # The loss needs no targets or the targets of all images.
    towards = labels if targets is None else targets
    phases = _phases(threat, steps)

    def once(x, y, t, draw):
        widest = phases[0][0]
        start = x + threat.metric.displacement(tf.shape(x), widest.eps, seed, draw)
        for ball, count in phases:
            run = compiled(model, _graph, ball, count, loss, draws)
            start, x_adv = run(x, y, t, ball.project(start, x))
        return x_adv

    return with_restarts(once, model, (images, labels, towards), restarts)


def _phases(threat: ThreatModel, steps: int) -> list[tuple[ThreatModel, int]]:
    """Return the ball and the number of steps of each phase; the last takes what is left."""
    phases, left = [], steps
    for factor, share in PHASES[threat.norm]:
        last = factor == 1.0
        count = left if last else min(math.ceil(share * steps), left - 1)
        left -= count
        if count:
            phases.append((replace(threat, eps=factor * threat.eps), count))
    return phases


def _graph(logits_of, threat: ThreatModel, steps: int, loss: str, draws: int):
    move, first_state = RULES[threat.norm](threat, steps)

    def run(images, labels, targets, start):
        def values(x):
            logits = logits_of(x)
            extra = (targets,) if loss in TARGETED else ()
            return LOSSES[loss](logits, labels, *extra), logits

        def remember(x, gradient, value, logits, s):
            fools = margin(logits, labels) <= 0
            s["fooling"] = tf.where(per_example(fools), x, s["fooling"])
            s["fooled"] |= fools
            better = value > s["best"]
            s["x_best"] = tf.where(per_example(better), x, s["x_best"])
            s["g_best"] = tf.where(per_example(better), gradient, s["g_best"])
            s["best"] = tf.maximum(value, s["best"])

        def rule(step, x, gradient, value, logits, s):
            gradient = or_random(gradient, step)
            remember(x, gradient, value, logits, s)
            return move(step, x, gradient, value, images, s)

        seen = {
            "fooling": start,
            "fooled": tf.zeros(tf.shape(labels), tf.bool),
            "x_best": start,
            "g_best": tf.zeros_like(start),
            "best": tf.zeros(tf.shape(labels)) - float("inf"),
        }
        differentiate = expectation(draws)
        x, s = ascend(
            values,
            images,
            start,
            norm=threat.metric,
            eps=threat.eps,
            steps=steps,
            rule=rule,
            state=seen | first_state(images, start),
            differentiate=differentiate,
        )
        # The rule has not seen the last iterate.
        value, logits = values(x) if draws == 1 else differentiate(values, x)[:2]
        remember(x, s["g_best"], value, logits, s)
        return s["x_best"], tf.where(per_example(s["fooled"]), s["fooling"], s["x_best"])

    return run
