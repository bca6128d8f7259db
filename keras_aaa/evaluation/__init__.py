"""How robust a defence is: attacks, masks of who survived, accuracies with their intervals."""

from keras_aaa.evaluation._autoattack import AutoAttack, autoattack
from keras_aaa.evaluation.measure import PgdTest, attack_all, correct, craft, survive_pgd

__all__ = ["AutoAttack", "PgdTest", "attack_all", "autoattack", "correct", "craft", "survive_pgd"]
