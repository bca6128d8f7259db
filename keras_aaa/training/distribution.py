"""Where a run computes: the tf.distribute strategy and the batches each replica gets."""

import tensorflow as tf

from keras_aaa.names import lookup


def choose_strategy(name: str) -> tf.distribute.Strategy:
    """Return the strategy of that name.

    "default" is one device; "mirrored" all visible GPUs, or all logical CPU devices; "auto" is
    mirrored if there is more than one GPU, else default.

    Raises:
        ValueError: for another name.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "default"
    makers = {
        "default": tf.distribute.get_strategy,
        "mirrored": lambda: tf.distribute.MirroredStrategy([d.name for d in devices]),
    }
    return lookup("strategy", name, {**makers, "auto": None})()


def distribute(batches: tf.data.Dataset, strategy: tf.distribute.Strategy, batch_size: int):
    """Return an iterable of global batches, each cut into equal parts, one a replica, in order.

    Raises:
        ValueError: if the batch cannot be cut so.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(f"batch_size {batch_size} cannot be divided among {replicas} replicas.")
    if replicas == 1:
        return batches
    return strategy.experimental_distribute_dataset(batches)
