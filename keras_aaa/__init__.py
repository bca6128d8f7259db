"""Adversarially trained autoencoders (AAA): put one before a Keras classifier, and it resists.

defended = keras_aaa.defend(zoo.load("aaa_mnist_ce_mse"), classifier)
"""

from keras_aaa.models import build, defend
from keras_aaa.threat_model import ThreatModel, threat_for

__all__ = ["ThreatModel", "build", "defend", "threat_for"]
