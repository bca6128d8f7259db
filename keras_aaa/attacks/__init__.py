"""Attacks: functions attack(model, images, labels, *, threat, ...) -> adversarial images."""

from collections.abc import Callable

from keras_aaa.attacks._apgd import apgd
from keras_aaa.attacks._bpda_eot import bpda, eot
from keras_aaa.attacks._carlini_wagner import carlini_wagner
from keras_aaa.attacks._deepfool import deepfool
from keras_aaa.attacks._fab import fab
from keras_aaa.attacks._fgsm import fgsm
from keras_aaa.attacks._hop_skip_jump import hop_skip_jump
from keras_aaa.attacks._pgd import pgd
from keras_aaa.attacks._random_noise import random_noise
from keras_aaa.attacks._spsa import spsa
from keras_aaa.attacks._square import square
from keras_aaa.attacks._transfer_pgd import transfer_pgd

ATTACKS: dict[str, Callable] = {
    "apgd": apgd,
    "carlini_wagner": carlini_wagner,
    "deepfool": deepfool,
    "fab": fab,
    "fgsm": fgsm,
    "hop_skip_jump": hop_skip_jump,
    "pgd": pgd,
    "random_noise": random_noise,
    "spsa": spsa,
    "square": square,
    "transfer_pgd": transfer_pgd,
}

__all__ = ["ATTACKS", "bpda", "eot", *ATTACKS]
