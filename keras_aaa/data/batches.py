"""Training batches that depend on (seed, step) alone, so that a resumed run repeats them."""

import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number


def training_batches(
    data: tf.data.Dataset,
    *,
    size: int,
    batch_size: int,
    seed: int,
    epoch: int,
    skip: int = 0,
    shift: int = 0,
    flip: bool = False,
) -> tf.data.Dataset:
    """Return one epoch's batches in the order that (seed, epoch) gives; ragged ends are dropped.

    Args:
        data: cached examples (image, label).
        size: their number; the shuffle buffer holds them all.
        batch_size: global batch size.
        seed, epoch: the order derives from both.
        skip: batches of this epoch that were already used.
        shift: each image is moved by up to so many pixels each way, its mirror image coming in.
        flip: whether half of the images are mirrored left to right.

    Returns:
        tf.data.Dataset of (images [batch, h, w, c] float32, labels [batch] int64, noise
        [batch, h, w, c] float32 uniform in [-1, 1)).
    """
    steps = size // batch_size
    order = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    examples = data.shuffle(size, seed=order, reshuffle_each_iteration=False)
    if shift or flip:
        augment = _augmentation(seed, shift, flip)
        examples = examples.enumerate(start=epoch * size).map(augment, num_parallel_calls=2)
    batches = examples.batch(batch_size, drop_remainder=True).skip(skip)

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


def _augmentation(seed: int, shift: int, flip: bool):
    def augment(index, example):
        image, label = example
        fold = tf.random.experimental.stateless_fold_in
        example_seed = fold(tf.constant([seed, 2], tf.int64), index)
        if shift:
            # Not zeros: a black border would change an image's mean and deviation, which the
            # ResNet normalises by, in training alone.
            padded = tf.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="REFLECT")
            image = tf.image.stateless_random_crop(padded, tf.shape(image), example_seed)
            image.set_shape(example[0].shape)
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, fold(example_seed, 1))
        return image, label

    return augment


def first(data: tf.data.Dataset, examples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first `examples` of `data`, fewer where there are fewer.

    Args:
        data: examples (image, label), one or more.
        examples: how many, >= 1.

    Returns:
        Two tensors: images float32 [n, h, w, c] in [0, 1], labels int64 [n].

    Raises:
        TypeError, ValueError: for an `examples` that is no whole number from 1 on.
    """
    check_number("examples", examples, 1, whole=True)
    return next(iter(data.take(examples).batch(examples)))
