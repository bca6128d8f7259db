"""Attacks: functions attack(model, images, labels, *, threat, ...) -> adversarial images."""

from keras_aaa.attacks.fgsm import fgsm
from keras_aaa.attacks.pgd import pgd

ATTACKS = {"fgsm": fgsm, "pgd": pgd}

__all__ = ["ATTACKS", "fgsm", "pgd"]
