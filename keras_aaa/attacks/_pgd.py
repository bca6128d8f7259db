"""Projected gradient descent (PGD)."""

import tensorflow as tf
from cleverhans.tf2.utils import optimize_linear

from keras_aaa.attacks._engine.compilation import compiled
from keras_aaa.attacks._engine.loop import ascend
from keras_aaa.attacks.losses import cross_entropy
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.inputs import check_batch
from keras_aaa.threat_model import ThreatModel


def pgd(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int,
    step_size: float,
    momentum: float = 0.0,
    start=None,
    seed: int = 0,
) -> tf.Tensor:
    """Return adversarial images after `steps` steps up the cross-entropy.

    Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks". Paper:
    AAA, all tables (40 and 200 steps of 0.01; 10 steps of 2/255).

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.
        steps: number of gradient steps, >= 0.
        step_size: length of a step in the threat's norm, in image units, > 0.
        momentum: decay of the accumulated gradient, in [0, 1]; above 0 this is the momentum
            iterative method of Dong et al. 2018.
        start: images [n, h, w, c] to begin from (a run continued), or None for a uniformly random
            point of the cube of half-width eps, projected onto the ball.
        seed: of the random start.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: for images, labels or settings that are not as above.
    """
    images, labels = check_batch(images, labels, model, threat)
    check_number("steps", steps, 0, whole=True)
    check_number("step_size", step_size, 0, above=True)
    check_number("momentum", momentum, 0, 1)
    if not len(labels):
        return images
    if start is None:
        start = random_start(images, threat, seed)
    start = threat.project(tf.cast(start, tf.float32), images)
    run = compiled(model, pgd_graph, threat.norm, float(momentum))
    numbers = tf.constant(step_size, tf.float32), tf.constant(threat.eps, tf.float32)
    return run(images, labels, start, tf.constant(steps), *numbers)


def random_start(images: tf.Tensor, threat: ThreatModel, seed: int) -> tf.Tensor:
    """Return a random point of each image's ball: of the cube of half-width eps, projected."""
    noise = tf.random.stateless_uniform(tf.shape(images), (seed, 0), -1.0, 1.0)
    return threat.project(images + threat.eps * noise, images)


def steepest_ascent(threat: ThreatModel, step_size):
    """The rule of PGD: one step of `step_size` along the steepest direction in the norm."""

    def rule(step, x_adv, gradient, loss, logits, state):
        return x_adv + optimize_linear(gradient, step_size, threat.order), state

    return rule


def _with_momentum(threat: ThreatModel, step_size, momentum: float):
    """The rule of the momentum iterative method; its state is the accumulated gradient."""

    def rule(step, x_adv, gradient, loss, logits, velocity):
        length = tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
        velocity = momentum * velocity + gradient / (length + 1e-12)
        return x_adv + optimize_linear(velocity, step_size, threat.order), velocity

    return rule


def pgd_graph(logits, norm: str, momentum: float = 0.0):
    """Return run(images, labels, start, steps, step_size, eps) -> x_adv, all of tensors.

    Graph code: `pgd` without its checks, random start and cache.

    Args:
        logits: images -> logits, frozen.
        norm: of the threat.
        momentum: as for pgd.
    """
    threat = ThreatModel(norm, 0.0)  # the radius is an argument, so that one graph serves all

    def run(images, labels, start, steps, step_size, eps):
        def loss(x):
            values = logits(x)
            return cross_entropy(values, labels), values

        rule, state = steepest_ascent(threat, step_size), ()
        if momentum:
            rule, state = _with_momentum(threat, step_size, momentum), tf.zeros_like(images)
        settings = {"threat": threat, "steps": steps, "rule": rule, "state": state, "eps": eps}
        return ascend(loss, images, start, **settings)[0]

    return run
