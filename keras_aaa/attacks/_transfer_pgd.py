"""PGD for transfer to other models: momentum, diverse inputs, smoothed gradients."""

import tensorflow as tf

from keras_aaa.attacks._engine.loop import Rule, ascend
from keras_aaa.attacks._engine.preamble import attack
from keras_aaa.attacks._pgd import _with_momentum
from keras_aaa.attacks.losses import cross_entropy
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import NORMS
from keras_aaa.threat_model import ThreatModel

DEVIATION = 0.2  # of the Gaussian kernel, in its side; 3 of 15 pixels in the paper


@attack()
def transfer_pgd(
    model: Defence,
    images,
    labels,
    *,
    threat: ThreatModel,
    steps: int,
    step_size: float,
    momentum: float = 1.0,
    probability: float = 0.5,
    smallest: float = 0.9,
    kernel: int = 1,
    seed: int = 0,
) -> tf.Tensor:
    """Return adversarial images that are to be misclassified by other models than this one.

    PGD from the clean image with three additions, each of which can be switched off:

    - momentum: Dong et al. 2018, "Boosting Adversarial Attacks with Momentum".
    - probability, smallest: Xie et al. 2019, "Improving Transferability of Adversarial Examples
      with Input Diversity". Each step sees the images shrunk to a random size, at a random place
      on black. A batch shares size and place.
    - kernel: Dong et al. 2019, "Evading Defenses to Transferable Adversarial Examples by
      Translation-Invariant Attacks". A Gaussian kernel smooths the gradient.

    Args:
        model: images -> logits; a keras.Model is called with training=False.
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n], the true classes.
        threat: the ball to stay in.
        steps: number of gradient steps, >= 0 (10 in the papers).
        step_size: length of a step in the threat's norm, in image units, > 0 (eps / steps in the
            papers).
        momentum: decay of the accumulated gradient, in [0, 1]; 0 switches it off.
        probability: of shrinking the images in a step, in [0, 1]; 0 switches it off.
        smallest: smallest side of shrunk images, as a share of the images' side, in (0, 1].
        kernel: side of the smoothing kernel in pixels, odd; 1 switches it off. The paper takes 15
            for images of 299 pixels.
        seed: of the random sizes and places.

    Returns:
        float32 [n, h, w, c], inside the ball and in [0, 1].

    Raises:
        TypeError, ValueError: if images, labels or settings are not as above.

    Example:
        x_adv = transfer_pgd(mine, images, labels, threat=threat, steps=10, step_size=0.03)
        correct(theirs, x_adv, labels).mean()
    """
    check_number("steps", steps, 0, whole=True)
    check_number("step_size", step_size, 0, above=True)
    check_number("momentum", momentum, 0, 1)
    check_number("probability", probability, 0, 1)
    check_number("smallest", smallest, 0, 1, above=True)
    check_number("kernel", kernel, 1, whole=True)
    if kernel % 2 == 0:
        raise ValueError(f"kernel: expected an odd number, got {kernel}.")
    settings = (momentum, probability, smallest)
    run = compiled(model, _graph, threat, float(step_size), *map(float, settings), int(kernel))
    return run(images, labels, tf.constant(steps), tf.constant(seed))


def _graph(logits_of, threat: ThreatModel, step_size, momentum, probability, smallest, kernel):
    norm = NORMS[threat.norm]
    rule = _with_momentum(norm, step_size, momentum)
    if kernel > 1:
        rule = smoothed(rule, kernel)

    def run(images, labels, steps, seed):
        def body(step, x, velocity):
            seen = diverse(logits_of, (seed, step), probability, smallest)

            def loss(x):
                logits = seen(x)
                return cross_entropy(logits, labels), logits

            ball = {"norm": norm, "eps": threat.eps}
            return step + 1, *ascend(loss, images, x, **ball, steps=1, rule=rule, state=velocity)

        start = (tf.constant(0), images, tf.zeros_like(images))
        return tf.while_loop(lambda step, *_: step < steps, body, start, parallel_iterations=1)[1]

    return run


def diverse(defence: Defence, seed, probability: float, smallest: float) -> Defence:
    """Return a defence that sees its images at a random size and place on black, or as they are.

    Args:
        defence: images -> logits.
        seed: a pair of numbers or scalar tensors; the same pair draws the same size and place.
        probability: of a size other than the images' own.
        smallest: smallest size, as a share of the images' side.
    """

    def call(images):
        coin, size, down, right = tf.unstack(tf.random.stateless_uniform((4,), seed))
        share = tf.where(coin < probability, smallest + (1 - smallest) * size, 1.0)
        shape = tf.shape(images)
        sides = tf.cast(shape[1:3], tf.float32)
        shrunk = tf.cast(tf.maximum(tf.round(share * sides), 1.0), tf.int32)
        room = shape[1:3] - shrunk
        before = tf.cast(tf.stack([down, right]) * tf.cast(room + 1, tf.float32), tf.int32)
        margins = tf.pad(tf.stack([before, room - before], axis=1), [[1, 1], [0, 0]])
        placed = tf.pad(tf.image.resize(images, shrunk), margins)
        return defence(tf.ensure_shape(placed, images.shape))

    return call if probability else defence


def smoothed(rule: Rule, kernel: int) -> Rule:
    """Return the rule with the gradient convolved by a Gaussian kernel of this side, in pixels."""
    offsets = tf.range(kernel, dtype=tf.float32) - kernel // 2
    bell = tf.exp(-0.5 * tf.square(offsets / (DEVIATION * kernel)))
    window = bell[:, None] * bell[None, :]
    window = (window / tf.reduce_sum(window))[:, :, None, None]

    def smooth(step, x_adv, gradient, loss, logits, state):
        filters = tf.tile(window, (1, 1, tf.shape(gradient)[-1], 1))
        gradient = tf.nn.depthwise_conv2d(gradient, filters, (1, 1, 1, 1), "SAME")
        return rule(step, x_adv, gradient, loss, logits, state)

    return smooth
