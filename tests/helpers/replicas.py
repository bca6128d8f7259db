"""Train ten steps on one and on two logical CPU devices; print the largest weight difference."""

import dataclasses
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from keras_aaa import data  # noqa: E402
from keras_aaa.models import build  # noqa: E402
from keras_aaa.models.surgery import two_headed  # noqa: E402
from keras_aaa.threat_model import threat_for  # noqa: E402
from keras_aaa.training import (  # noqa: E402
    LOSSES,
    AutoencoderTask,
    Recipe,
    TwoHeadedTask,
    train,
)
from keras_aaa.training.distribution import choose_strategy  # noqa: E402

RECIPE = Recipe(
    epochs=1,
    batch_size=16,
    train_examples=160,
    attack_steps=2,
    attack_step_size=0.1,
    schedule="constant",
    validation_examples=16,
    validation_steps=1,
)


# Made once: the collectives of a second MirroredStrategy would clash with the first one's.
STRATEGIES = {1: choose_strategy("default"), 2: choose_strategy("mirrored")}


def weights_after_ten_steps(replicas: int, recipe: Recipe, latent_weight: float, **architecture):
    strategy = STRATEGIES[replicas]
    with strategy.scope():
        keras.utils.set_random_seed(0)
        autoencoder = build(**architecture)
        classifier = build("madry", width=4, dense=16)
        # The attack follows signs of gradients, where rounding can flip a pixel: a small ball
        # keeps such a flip below what is compared.
        threat = dataclasses.replace(threat_for("mnist"), eps=1e-3)
        loss = dataclasses.replace(LOSSES["ce_mse"], latent=latent_weight)
        models = autoencoder, (classifier,), loss, threat
        task = (
            TwoHeadedTask(two_headed(autoencoder, 10), *models)
            if latent_weight
            else AutoencoderTask(*models)
        )
    progress = train(
        task,
        recipe,
        train_data=data.load("mnist", "train"),
        validation_data=data.first(data.load("mnist", "validation"), 16),
        workdir=tempfile.mkdtemp(),
        strategy=strategy,
    )
    if progress.step != 10 or strategy.num_replicas_in_sync != replicas:
        raise SystemExit(f"{replicas} replicas: {progress.step} steps")
    return autoencoder.get_weights()


def difference(recipe: Recipe, latent_weight: float = 0.0, **architecture) -> float:
    one, two = (weights_after_ten_steps(n, recipe, latent_weight, **architecture) for n in (1, 2))
    return max(np.abs(a - b).max() for a, b in zip(one, two, strict=True))


dense = {"architecture": "conv_dense_autoencoder", "latent": 8, "width": 2}
averaged = dataclasses.replace(RECIPE, average_decay=0.5)
print("weights", difference(averaged, latent_weight=1.0, **dense))
# Fourteen batch normalisations amplify rounding to 1e-3 in ten steps of Adam; with the weights
# held still what is left are the batch statistics, which each replica alone would get wrong.
still = dataclasses.replace(RECIPE, learning_rate=1e-8)
if "--statistics" in sys.argv:
    print("statistics", difference(still, architecture="conv_autoencoder", width=2))
