"""Training batches that depend on (seed, step) alone, so that a resumed run repeats them."""

import numpy as np
import tensorflow as tf


def training_batches(
    data: tf.data.Dataset, *, size: int, batch_size: int, seed: int, epoch: int, skip: int = 0
) -> tf.data.Dataset:
    """Return one epoch's batches in the order that (seed, epoch) gives; ragged ends are dropped.

    Args:
        data: cached examples (image, label).
        size: their number; the shuffle buffer holds them all.
        batch_size: global batch size.
        seed, epoch: the order derives from both.
        skip: batches of this epoch that were already used.

    Returns:
        tf.data.Dataset of (images [batch, h, w, c] float32, labels [batch] int64, noise
        [batch, h, w, c] float32 uniform in [-1, 1)).
    """
    steps = size // batch_size
    order = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    batches = data.shuffle(size, seed=order, reshuffle_each_iteration=False)
    batches = batches.batch(batch_size, drop_remainder=True).skip(skip)

    def add_noise(step, batch):
        images, labels = batch
        noise_seed = tf.random.experimental.stateless_fold_in(
            tf.constant([seed, 1], tf.int64), step
        )
        noise = tf.random.stateless_uniform(tf.shape(images), noise_seed, -1.0, 1.0)
        noise.set_shape(images.shape)
        return images, labels, noise

    batches = batches.enumerate(start=epoch * steps + skip)
    return batches.map(add_noise, num_parallel_calls=2).prefetch(2)


def first(data: tf.data.Dataset, examples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first `examples` of `data` as two tensors: images [n, h, w, c], labels [n]."""
    return next(iter(data.take(examples).batch(examples)))
