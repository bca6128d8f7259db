"""Projected gradient descent (PGD)."""

import tensorflow as tf

from keras_aaa.attacks._engine.loop import ascend, or_random
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks._engine.restarts import with_restarts
from keras_aaa.attacks.losses import ascended_cross_entropy
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import NORMS, SMALLEST, Norm
from keras_aaa.threat_model import ThreatModel


@attack()
def pgd(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int = 40,
    step_size: float,
    momentum: float = 0.0,
    start=None,
    restarts: int = 1,
    seed: int = 0,
) -> tf.Tensor:
    """Return adversarial images after `steps` steps up the cross-entropy.

    Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks". Paper:
    AAA, all tables (40 and 200 steps of 0.01; 10 steps of 2/255). In l1 a step moves one percent
    of the pixels, those of the largest gradient (Tramer and Boneh 2019). A confident model
    does not hide its gradient. An image whose gradient is exactly zero takes a step in a random
    direction.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.
        steps: number of gradient steps, >= 0.
        step_size: length of a step in the threat's norm, in image units, > 0.
        momentum: decay of the accumulated gradient, in [0, 1]; above 0 this is the momentum
            iterative method of Dong et al. 2018.
        start: images [n, h, w, c] to start from, for example to continue a run; None for a random
            point: uniform in the cube of half-width eps, projected onto the ball.
        restarts: number of starts, >= 1; images still classified correctly try the next, which is
            random.
        seed: of the random starts.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.
    """
    check_number("steps", steps, 0, whole=True)
    check_number("step_size", step_size, 0, above=True)
    check_number("momentum", momentum, 0, 1)
    run = compiled(model, pgd_graph, threat.norm, float(momentum))
    numbers = tf.constant(step_size, tf.float32), tf.constant(threat.eps, tf.float32)

    def once(x, y, draw):
        begin = random_start(x, threat, seed, draw) if start is None or draw else start
        begin = threat.project(tf.cast(begin, tf.float32), x)
        return run(x, y, begin, tf.constant(steps), *numbers)

    return with_restarts(once, model, (images, labels), restarts)


def random_start(images: tf.Tensor, threat: ThreatModel, seed: int, draw: int = 0) -> tf.Tensor:
    """Return a random point of the ball around each image.

    It is uniform in the cube of half-width eps, then projected. The point of an image depends on
    the seed, the draw and the position of the image in the batch alone.
    """
    noise = tf.random.stateless_uniform(tf.shape(images), (seed, draw), -1.0, 1.0)
    return threat.perturb(images, noise)


def steepest_ascent(norm: Norm, step_size):
    """Return the rule of PGD: one step of `step_size` along the steepest direction in the norm."""

    def rule(step, x_adv, gradient, loss, logits, state):
        return x_adv + step_size * norm.steepest(or_random(gradient, step), x_adv), state

    return rule


def _with_momentum(norm: Norm, step_size, momentum: float):
    """Return the rule of the momentum iterative method. Its state is the accumulated gradient."""

    def rule(step, x_adv, gradient, loss, logits, velocity):
        gradient = or_random(gradient, step)
        length = tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
        velocity = momentum * velocity + gradient / tf.maximum(length, SMALLEST)
        return x_adv + step_size * norm.steepest(velocity, x_adv), velocity

    return rule


def pgd_graph(logits, norm: str, momentum: float = 0.0):
    """Return run(images, labels, start, steps, step_size, eps) -> x_adv, all of tensors.

    Graph code: `pgd` without its checks, random start and cache.

    Args:
        logits: images -> logits, frozen.
        norm: its name in NORMS.
        momentum: as for pgd.
    """

    def run(images, labels, start, steps, step_size, eps):
        def loss(x):
            values = logits(x)
            return ascended_cross_entropy(values, labels), values

        rule, state = steepest_ascent(NORMS[norm], step_size), ()
        if momentum:
            rule, state = _with_momentum(NORMS[norm], step_size, momentum), tf.zeros_like(images)
        settings = {"norm": NORMS[norm], "eps": eps, "steps": steps, "rule": rule, "state": state}
        return ascend(loss, images, start, **settings)[0]

    return run
