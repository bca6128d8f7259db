"""The losses that attacks maximise; one value per example."""

import tensorflow as tf

# Added to denominators, which are differences of logits. They can be 0 in bfloat16; a much smaller
# number would let the gradient grow to NaN.
TINY = 1e-6
# Gaps between logits below this saturate the cross-entropy: its gradient has a factor of exp(gap),
# and float32 ends at exp(-87).
SATURATED = -60.0


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy [n] of float32 logits [n, classes] with labels [n], in nats."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def ascended_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return a loss [n] that rises where the cross-entropy does, and whose gradient never vanishes.

    The cross-entropy is log(1 + exp(gap)), where the gap is the log-sum-exp of the other logits
    minus the label's. For a confident model it is 0 in float32, and so is its gradient. From there
    on this is the gap itself, whose gradient has the same direction. Elsewhere it is the
    cross-entropy.
    """
    own = tf.gather(logits, labels, axis=1, batch_dims=1)
    mask = tf.one_hot(labels, tf.shape(logits)[1], on_value=-1e30, off_value=0.0)
    gap = tf.reduce_logsumexp(logits + mask, axis=1) - own
    return tf.where(gap < SATURATED, gap, cross_entropy(logits, labels))


def margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return z_y - max over i != y of z_i, [n]; negative for a misclassified example."""
    own = tf.gather(logits, labels, axis=1, batch_dims=1)
    mask = tf.one_hot(labels, tf.shape(logits)[1], on_value=-float("inf"), off_value=0.0)
    return own - tf.reduce_max(logits + mask, axis=1)


def dlr(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the difference of logits ratio, [n]: -(z_y - max_{i != y} z_i) / (z_(1) - z_(3)).

    z_(k) is the k-th largest logit, of three or more. Croce and Hein 2020, equation 6.
    """
    top = _largest(logits, 3)
    return -margin(logits, labels) / (top[:, 0] - top[:, 2] + TINY)


def targeted_dlr(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), [n], of four logits or more.

    Croce and Hein 2020, equation 7.
    """
    own, other = (tf.gather(logits, c, axis=1, batch_dims=1) for c in (labels, targets))
    top = _largest(logits, 4)
    return -(own - other) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + TINY)


def targeted_margin(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return z_t - z_y, [n]."""
    own, other = (tf.gather(logits, c, axis=1, batch_dims=1) for c in (labels, targets))
    return other - own


def _largest(logits: tf.Tensor, count: int) -> tf.Tensor:
    if logits.shape[-1] < count:
        raise ValueError(f"model: expected {count} classes or more for this loss of differences of "
                         f"logits, got {logits.shape[-1]}.")  # fmt: skip
    return tf.math.top_k(logits, count).values


UNTARGETED = {"ce": ascended_cross_entropy, "dlr": dlr, "margin": lambda *batch: -margin(*batch)}
TARGETED = {"targeted_dlr": targeted_dlr, "targeted_margin": targeted_margin}


def ranked_targets(logits: tf.Tensor, labels: tf.Tensor, rank: int) -> tf.Tensor:
    """Return the wrong class with the `rank`-th largest logit, int64 [n]; rank 1 is the nearest."""
    mask = tf.one_hot(labels, tf.shape(logits)[1], on_value=-float("inf"), off_value=0.0)
    return tf.cast(tf.math.top_k(logits + mask, rank).indices[:, rank - 1], tf.int64)
