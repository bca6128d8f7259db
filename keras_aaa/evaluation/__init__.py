"""How robust a defence is: attacks, and masks of the examples that survive them."""

from keras_aaa.evaluation._autoattack import AutoAttack, autoattack
from keras_aaa.evaluation.measure import PgdTest, attack_all, correct, craft, survive_pgd

__all__ = ["AutoAttack", "PgdTest", "attack_all", "autoattack", "correct", "craft", "survive_pgd"]
