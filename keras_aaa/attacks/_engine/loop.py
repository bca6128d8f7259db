"""The gradient loop of PGD, APGD, FAB and the training attack."""

from collections.abc import Callable

import tensorflow as tf

from keras_aaa.norms import Norm, project

# images [n, h, w, c] -> (loss [n], logits [n, classes])
Loss = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (step, x_adv, gradient, loss, logits, state) -> (unprojected x_adv, state)
Rule = Callable[..., tuple[tf.Tensor, object]]
# (loss, x) -> (loss [n], logits [n, classes], gradient shaped as x)
Differentiate = Callable[[Loss, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def loss_and_gradient(
    loss: Loss, x: tf.Tensor, raw: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return loss [n], logits [n, classes] and the gradient of the summed loss, shaped as x.

    Entries of the gradient that are not finite become 0, so that one image cannot spoil the others
    or leave the ball. With `raw`, they stay.
    """

    # A separate function that is not inlined into the loop. TensorFlow replaces the gradient of max
    # pooling by oneDNN's, which is ten times as fast, only if it visits the pooling first; in an
    # inlined loop that order is not certain.
    @tf.function(experimental_attributes={"_noinline": True}, autograph=False)
    def differentiated(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            values, logits = loss(x)
            total = tf.reduce_sum(values)
        # A defence without a gradient (rounding, for example) gets zeros; the sanity checks warn.
        gradient = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        if not raw:
            gradient = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
        return values, logits, gradient

    return differentiated(x)


def expectation(draws: int) -> Differentiate:
    """Return a loss_and_gradient that averages `draws` calls, for random defences.

    Athalye et al. 2018, "Obfuscated Gradients Give a False Sense of Security", section 4.2.
    """
    if draws == 1:
        return loss_and_gradient

    def differentiate(loss, x):
        def add(draw, sums):
            parts = zip(sums, loss_and_gradient(loss, x), strict=True)
            return draw + 1, tuple(total + part for total, part in parts)

        start = (tf.constant(1), loss_and_gradient(loss, x))
        loop = tf.while_loop(lambda draw, _: draw < draws, add, start, parallel_iterations=1)
        return tuple(total / draws for total in loop[1])

    return differentiate


def or_random(gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Return the gradients, with a random direction in place of a gradient that is exactly zero.

    The cross-entropy of a confident model has such gradients in float32. All images get the same
    direction, so that the result does not depend on how they are batched.

    Args:
        gradient: float32 [n, h, w, c].
        step: int32, the seed of the direction.
    """
    random = tf.random.stateless_normal(tf.shape(gradient)[1:], tf.stack([step, 0]))
    vanished = tf.reduce_all(gradient == 0, axis=(1, 2, 3), keepdims=True)
    return tf.where(vanished, random, gradient)


def ascend(
    loss: Loss,
    x: tf.Tensor,
    start: tf.Tensor,
    *,
    norm: Norm,
    eps,
    steps,
    rule: Rule,
    state=(),
    differentiate: Differentiate = loss_and_gradient,
):
    """Ascend the loss for `steps` steps from `start`, projecting onto the ball after each.

    Graph code: call it inside a tf.function.

    Args:
        loss: see Loss.
        x: the clean images, the centres of the balls.
        start: the first iterate, inside the ball.
        norm: the ball's.
        eps: the ball's radius, a number or a scalar tensor.
        steps: int or int32 tensor.
        rule: see Rule; the gradient, loss and logits are those at x_adv.
        state: what the rule carries from step to step, a nest of tensors.
        differentiate: see Differentiate.

    Returns:
        The last iterate [n, h, w, c], inside the ball, and the last state.
    """

    def body(step, x_adv, state):
        values, logits, gradient = differentiate(loss, x_adv)
        x_adv, state = rule(step, x_adv, gradient, values, logits, state)
        return step + 1, project(x_adv, x, norm, eps), state

    # One iteration at a time, since each needs the result of the one before it.
    return tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), start, state),
        parallel_iterations=1,
    )[1:]
