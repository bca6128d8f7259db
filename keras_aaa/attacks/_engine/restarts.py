"""Repeat an attack with other random draws on the images that it did not fool."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_aaa.attacks.losses import margin
from keras_aaa.checks import check_number
from keras_aaa.defence import Defence
from keras_aaa.fast.compilation import compiled
from keras_aaa.norms import per_example

# (images, labels, ..., draw) -> adversarial images. The draw counts from 0 and selects the random
# numbers.
Once = Callable[..., tf.Tensor]


def with_restarts(
    once: Once, model: Defence, examples: Sequence[tf.Tensor], restarts: int
) -> tf.Tensor:
    """Return the adversarial images of the first draw that fooled, else of the first draw.

    Args:
        once: see Once.
        model: images -> logits.
        examples: images float32 [n, h, w, c], labels int64 [n] and whatever else `once` takes of
            each example.
        restarts: number of draws, >= 1.
    """
    check_number("restarts", restarts, 1, whole=True)
    x_adv = once(*examples, 0)
    alive = tf.range(len(x_adv))
    for draw in range(1, restarts):
        fooled, labels = compiled(model, _fooled), examples[1]
        alive = tf.boolean_mask(alive, ~fooled(tf.gather(x_adv, alive), tf.gather(labels, alive)))
        if not len(alive):
            break
        still = [tf.gather(each, alive) for each in examples]
        again = once(*still, draw)
        better = tf.where(per_example(fooled(again, still[1])), again, tf.gather(x_adv, alive))
        x_adv = tf.tensor_scatter_nd_update(x_adv, alive[:, None], better)
    return x_adv


def _fooled(logits_of):
    return lambda images, labels: margin(logits_of(images), labels) <= 0
