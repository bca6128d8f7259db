"""Trainings that are small enough to compile in seconds."""

from keras_aaa import data
from keras_aaa.models import build
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Recipe, train

THREAT = ThreatModel("linf", 0.1)
RECIPE = Recipe(
    epochs=1,
    batch_size=8,
    train_examples=16,
    learning_rate=1e-3,
    schedule="constant",
    attack_steps=2,
    attack_step_size=0.05,
    validation_examples=10,
    validation_steps=2,
    average_decay=0.5,
)


def small_autoencoder():
    # Without batch normalisation, of which fourteen amplify rounding a thousandfold in ten steps.
    return build("conv_dense_autoencoder", latent=8, width=2)


def small_classifier():
    return build("fc", hidden=(8,))


TINY = Recipe(
    epochs=2,
    batch_size=16,
    train_examples=64,
    attack_steps=2,
    attack_step_size=0.1,
    validation_examples=32,
    validation_steps=2,
)


def tiny_train(task, workdir, recipe=TINY, **options):
    return train(
        task,
        recipe,
        train_data=data.load("mnist", "train"),
        validation_data=data.first(data.load("mnist", "validation"), recipe.validation_examples),
        workdir=workdir,
        **options,
    )


def arrays(model):
    return [w.copy() for w in model.get_weights()]
