"""Attacks: functions attack(model, images, labels, *, threat, ...) -> adversarial images."""

from keras_aaa.attacks.apgd import apgd
from keras_aaa.attacks.carlini_wagner import carlini_wagner
from keras_aaa.attacks.deepfool import deepfool
from keras_aaa.attacks.fab import fab
from keras_aaa.attacks.fgsm import fgsm
from keras_aaa.attacks.noise import random_noise
from keras_aaa.attacks.pgd import pgd
from keras_aaa.attacks.spsa import spsa
from keras_aaa.attacks.square import square
from keras_aaa.attacks.wrappers import bpda, eot

ATTACKS = {
    "apgd": apgd,
    "carlini_wagner": carlini_wagner,
    "deepfool": deepfool,
    "fab": fab,
    "fgsm": fgsm,
    "pgd": pgd,
    "random_noise": random_noise,
    "spsa": spsa,
    "square": square,
}

__all__ = ["ATTACKS", "bpda", "eot", *ATTACKS]
