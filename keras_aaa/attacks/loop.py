"""The one gradient loop under every iterative attack."""

from collections.abc import Callable

import tensorflow as tf

from keras_aaa.threat_model import ThreatModel

Rule = Callable[..., tuple[tf.Tensor, object]]


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of float32 logits [n, classes] with labels [n], an example each: [n]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def loss_and_gradient(loss: Callable, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return `loss(x)` [n] and the gradient of its sum with respect to x, shaped as x."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        values = loss(x)
        total = tf.reduce_sum(values)
    return values, tape.gradient(total, x)


def ascend(
    loss: Callable[[tf.Tensor], tf.Tensor],
    x: tf.Tensor,
    start: tf.Tensor,
    *,
    threat: ThreatModel,
    steps,
    rule: Rule,
    state=(),
    eps=None,
) -> tf.Tensor:
    """Move from `start` up the loss for `steps` steps, projecting onto the ball after each.

    Graph code: call it inside a tf.function.

    Args:
        loss: images [n, h, w, c] -> loss [n].
        x: the clean images, the ball's centres.
        start: where to begin, inside the ball.
        threat: the ball.
        steps: int or int32 tensor.
        rule: rule(step, x_adv, gradient, loss, state) -> (unprojected x_adv, state).
        state: whatever the rule carries from step to step (a nest of tensors).
        eps: scalar tensor in place of the ball's radius, or None.

    Returns:
        The last iterate, [n, h, w, c], inside the ball.
    """

    def body(step, x_adv, state):
        values, gradient = loss_and_gradient(loss, x_adv)
        x_adv, state = rule(step, x_adv, gradient, values, state)
        return step + 1, threat.project(x_adv, x, eps), state

    # One iteration at a time: each needs the last one's result, and buffers for more cost time.
    return tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), start, state),
        parallel_iterations=1,
    )[1]
