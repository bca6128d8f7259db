"""Adversarially trained autoencoders (AAA): put one before a Keras classifier, and it resists.

    defended = keras_aaa.defend(zoo.load("aaa_mnist_ce_mse"), classifier)

Attacks, evaluation, models, training and data are subpackages: keras_aaa.attacks.pgd(...).
"""

from keras_aaa import attacks, data, evaluation, models, training
from keras_aaa.defence import Defence
from keras_aaa.models import build, defend
from keras_aaa.threat_model import ThreatModel, threat_for

__version__ = "0.1.0"

__all__ = [
    "Defence",
    "ThreatModel",
    "__version__",
    "attacks",
    "build",
    "data",
    "defend",
    "evaluation",
    "models",
    "threat_for",
    "training",
]
