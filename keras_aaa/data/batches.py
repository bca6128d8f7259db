"""Training batches that depend only on (seed, step), so that a resumed run repeats them."""

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
    """Return the batches of one epoch, in an order that depends on (seed, epoch).

    An incomplete last batch is dropped.

    Args:
        data: cached dataset of single examples (image, label).
        size: number of examples; the shuffle buffer holds all of them.
        batch_size: global batch size.
        seed, epoch: together they determine the order.
        skip: number of batches of this epoch that were already used.
        shift: largest random shift of each image, in pixels in each direction; the border is filled
            by reflection.
        flip: whether to mirror a random half of the images left to right.

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
            # The ResNet normalises by an image's mean and deviation. A black border would change
            # them, in training only.
            padded = tf.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="REFLECT")
            image = tf.image.stateless_random_crop(padded, tf.shape(image), example_seed)
            image.set_shape(example[0].shape)
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, fold(example_seed, 1))
        return image, label

    return augment


def first(data: tf.data.Dataset, examples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first `examples` of `data`, or all if there are fewer.

    Args:
        data: dataset of one or more examples (image, label).
        examples: number of examples, >= 1.

    Returns:
        Two tensors: images float32 [n, h, w, c] in [0, 1], labels int64 [n].

    Raises:
        TypeError, ValueError: if `examples` is not a whole number >= 1.
    """
    check_number("examples", examples, 1, whole=True)
    return next(iter(data.take(examples).batch(examples)))
