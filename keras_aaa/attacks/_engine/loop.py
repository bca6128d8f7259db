"""The gradient loop of PGD, APGD, FAB and the training attack."""

from collections.abc import Callable

import tensorflow as tf

from keras_aaa.norms import Norm, project

# images [n, h, w, c] -> (loss [n], logits [n, classes])
Loss = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (step, x_adv, gradient, loss, logits, state) -> (unprojected x_adv, state)
Rule = Callable[..., tuple[tf.Tensor, object]]


def loss_and_gradient(loss: Loss, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return loss [n], logits [n, classes] and the gradient of the summed loss, shaped as x."""

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
        return values, logits, gradient

    return differentiated(x)


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

    Returns:
        The last iterate [n, h, w, c], inside the ball, and the last state.
    """

    def body(step, x_adv, state):
        values, logits, gradient = loss_and_gradient(loss, x_adv)
        x_adv, state = rule(step, x_adv, gradient, values, logits, state)
        return step + 1, project(x_adv, x, norm, eps), state

    # One iteration at a time, since each needs the result of the one before it.
    return tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), start, state),
        parallel_iterations=1,
    )[1:]
