"""How robust a defence is: attacks, and masks of the examples that survive them."""

from keras_aaa.evaluation._autoattack import AutoAttack, autoattack
from keras_aaa.evaluation.measure import PgdTest, attack_all, craft, survive_pgd
from keras_aaa.evaluation.score import correct, resists

__all__ = [
    "AutoAttack",
    "PgdTest",
    "attack_all",
    "autoattack",
    "correct",
    "craft",
    "resists",
    "survive_pgd",
]
