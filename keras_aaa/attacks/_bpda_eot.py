"""Make defences attackable whose gradient is missing (BPDA) or random (EOT)."""

from collections.abc import Callable

import tensorflow as tf

Tensors = Callable[[tf.Tensor], tf.Tensor]


def bpda(function: Tensors, surrogate: Tensors = tf.identity) -> Tensors:
    """Return a callable that computes `function` and differentiates `surrogate`.

    Athalye et al. 2018, "Obfuscated Gradients Give a False Sense of Security", section 4.1.

    Args:
        function: tensor -> tensor, a layer or any callable. Its gradient is never computed.
        surrogate: differentiable, tensor -> tensor of the same shape; the identity by default.
    """

    def call(x):
        value = tf.stop_gradient(function(x))
        if value.shape.rank is None:  # of a numpy_function, say
            value = tf.ensure_shape(value, surrogate(x).shape)

        # The function is called outside, so that custom_gradient does not see its variables.
        @tf.custom_gradient
        def attach(x):
            def gradient(upstream):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    y = surrogate(x)
                return tape.gradient(y, x, output_gradients=upstream)

            return tf.identity(value), gradient

        return attach(x)

    return call


def eot(defence: Tensors, samples: int) -> Tensors:
    """Return a callable that averages the logits and gradients of `samples` calls.

    Athalye et al. 2018, section 4.2 (expectation over transformation).

    Args:
        defence: images -> logits, random: two calls differ.
        samples: number of calls, >= 1.

    Raises:
        ValueError: for fewer than one sample.
    """
    if samples < 1:
        raise ValueError(f"samples: expected 1 or more, got {samples}.")

    def call(images):
        return tf.add_n([defence(images) for _ in range(samples)]) / samples

    return call
