"""Attacks: functions attack(model, images, labels, *, threat, ...) -> adversarial images."""

from keras_aaa.attacks.apgd import apgd
from keras_aaa.attacks.fab import fab
from keras_aaa.attacks.fgsm import fgsm
from keras_aaa.attacks.pgd import pgd
from keras_aaa.attacks.square import square

ATTACKS = {"apgd": apgd, "fab": fab, "fgsm": fgsm, "pgd": pgd, "square": square}

__all__ = ["ATTACKS", "apgd", "fab", "fgsm", "pgd", "square"]
