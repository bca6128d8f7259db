"""What the tests of compiled trainings train: small enough to compile in seconds."""

from keras_aaa.models import build
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Recipe

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
