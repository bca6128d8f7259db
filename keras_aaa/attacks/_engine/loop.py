"""The gradient loop of PGD, APGD, FAB and the training attack."""

from collections.abc import Callable

import tensorflow as tf

from keras_aaa.threat_model import ThreatModel

# images [n, h, w, c] -> (loss [n], logits [n, classes])
Loss = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (step, x_adv, gradient, loss, logits, state) -> (unprojected x_adv, state)
Rule = Callable[..., tuple[tf.Tensor, object]]


def loss_and_gradient(loss: Loss, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return loss [n], logits [n, classes] and the gradient of the summed loss, shaped as x."""

    # A function of its own, not inlined into a loop: TensorFlow replaces the gradient of max
    # pooling by oneDNN's (ten times as fast) only where it meets the pooling first, and in the
    # cycle of an inlined loop that depends on chance.
    @tf.function(experimental_attributes={"_noinline": True}, autograph=False)
    def differentiated(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            values, logits = loss(x)
            total = tf.reduce_sum(values)
        # A defence without a gradient (rounding, say) has one of zeros; the sanity checks say so.
        gradient = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return values, logits, gradient

    return differentiated(x)


def ascend(
    loss: Loss,
    x: tf.Tensor,
    start: tf.Tensor,
    *,
    threat: ThreatModel,
    steps,
    rule: Rule,
    state=(),
    eps=None,
):
    """Move from `start` up the loss for `steps` steps, projecting onto the ball after each.

    Graph code: call it inside a tf.function.

    Args:
        loss: see Loss.
        x: the clean images, the ball's centres.
        start: where to begin, inside the ball.
        threat: the ball.
        steps: int or int32 tensor.
        rule: see Rule; the gradient, loss and logits are those at x_adv.
        state: whatever the rule carries from step to step (a nest of tensors).
        eps: scalar tensor in place of the ball's radius, or None.

    Returns:
        The last iterate [n, h, w, c], inside the ball, and the last state.
    """

    def body(step, x_adv, state):
        values, logits, gradient = loss_and_gradient(loss, x_adv)
        x_adv, state = rule(step, x_adv, gradient, values, logits, state)
        return step + 1, threat.project(x_adv, x, eps), state

    # One iteration at a time: each needs the last one's result, and buffers for more cost time.
    return tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), start, state),
        parallel_iterations=1,
    )[1:]
