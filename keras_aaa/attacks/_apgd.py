"""Auto-PGD: PGD with an automatic step size."""

import tensorflow as tf

from keras_aaa.attacks._engine.loop import ascend
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks.losses import cross_entropy, dlr, margin, targeted_dlr
from keras_aaa.checks import check_number, lookup
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example
from keras_aaa.threat_model import ThreatModel

LOSSES = {"ce": cross_entropy, "dlr": dlr, "targeted_dlr": targeted_dlr}
MOMENTUM, RHO = 0.75, 0.75


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which the step size is reviewed.

    Croce and Hein 2020, section 3.2: p_0 = 0, p_1 = 0.22; each gap is 0.03 shorter than the one
    before it, but at least 0.06.
    """
    gap, shortest, shrink = (max(int(f * steps), 1) for f in (0.22, 0.06, 0.03))
    reviews, step = [], gap
    while step <= steps:
        reviews.append(step)
        gap = max(gap - shrink, shortest)
        step += gap
    return reviews


@attack()
def apgd(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int,
    loss: str = "ce",
    targets=None,
    seed: int = 0,
) -> tf.Tensor:
    """Return adversarial images: a misclassified one if any was met, else the one of highest loss.

    Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", algorithm 1. There is one random start; use another seed to restart.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.
        steps: number of gradient steps, >= 1 (100 in AutoAttack).
        loss: "ce", "dlr" or "targeted_dlr". The last one needs `targets`.
        targets: int64 [n], the classes to be mistaken for; None for an untargeted loss.
        seed: of the random start.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    lookup("loss", loss, LOSSES)
    check_number("steps", steps, 1, whole=True)
    if (targets is None) == (loss == "targeted_dlr"):
        raise ValueError("targets: expected with the loss targeted_dlr, and only with it.")
    targets = labels if targets is None else tf.cast(targets, tf.int64)
    noise = threat.metric.sample(tf.shape(images), seed)
    start = threat.perturb(images, noise)
    return compiled(model, _graph, threat, steps, loss)(images, labels, targets, start)


def _graph(logits_of, threat: ThreatModel, steps: int, loss: str):
    looks = tf.constant([step in checkpoints(steps) for step in range(steps + 1)])
    gaps = {b: b - a for a, b in zip([0, *checkpoints(steps)], checkpoints(steps), strict=False)}
    gap = tf.constant([float(gaps.get(step, 0)) for step in range(steps + 1)])

    def run(images, labels, targets, start):
        def values(x):
            logits = logits_of(x)
            extra = (targets,) if loss == "targeted_dlr" else ()
            return LOSSES[loss](logits, labels, *extra), logits

        def rule(step, x, gradient, value, logits, s):
            fools = margin(logits, labels) <= 0
            s["fooling"] = tf.where(per_example(fools), x, s["fooling"])
            s["fooled"] |= fools
            better = value > s["best"]
            s["x_best"] = tf.where(per_example(better), x, s["x_best"])
            s["g_best"] = tf.where(per_example(better), gradient, s["g_best"])
            s["best"] = tf.maximum(value, s["best"])
            s["rises"] += tf.cast(value > s["last"], tf.float32)
            s["last"] = value

            # Halve the step if the loss rose too seldom, or if neither the best loss nor the step
            # changed since the last review.
            look = looks[step]
            seldom = s["rises"] <= RHO * gap[step]
            stuck = ~s["halved"] & (s["best"] <= s["best_at_look"])
            halve = look & (seldom | stuck)
            s["step"] = tf.where(halve, s["step"] / 2, s["step"])
            s["halved"] = tf.where(look, halve, s["halved"])
            s["best_at_look"] = tf.where(look, s["best"], s["best_at_look"])
            s["rises"] = tf.where(look, tf.zeros_like(s["rises"]), s["rises"])
            here = tf.where(per_example(halve), s["x_best"], x)
            gradient = tf.where(per_example(halve), s["g_best"], gradient)

            length = per_example(s["step"])
            ahead = threat.project(here + length * threat.metric.steepest(gradient), images)
            weight = tf.where(step == 0, 1.0, MOMENTUM)
            moved = here + weight * (ahead - here) + (1 - weight) * (here - s["previous"])
            s["previous"] = here
            return moved, s

        zeros = tf.zeros(tf.shape(labels))
        none = tf.zeros(tf.shape(labels), tf.bool)
        state = {
            "fooling": start,
            "fooled": none,
            "x_best": start,
            "g_best": tf.zeros_like(start),
            "best": zeros - float("inf"),
            "best_at_look": zeros - float("inf"),
            "last": zeros + float("inf"),
            "rises": zeros,
            "halved": tf.ones_like(none),
            "step": zeros + 2 * threat.eps,
            "previous": start,
        }
        x, s = ascend(
            values,
            images,
            start,
            norm=threat.metric,
            eps=threat.eps,
            steps=steps,
            rule=rule,
            state=state,
        )
        # The rule has not seen the last iterate.
        value, logits = values(x)
        s["fooling"] = tf.where(per_example(margin(logits, labels) <= 0), x, s["fooling"])
        s["fooled"] |= margin(logits, labels) <= 0
        best = tf.where(per_example(value > s["best"]), x, s["x_best"])
        return tf.where(per_example(s["fooled"]), s["fooling"], best)

    return run
