"""How robust a defence is: attacks, masks of who survived, accuracies with their intervals."""

from keras_aaa.evaluation._autoattack import AutoAttack, autoattack
from keras_aaa.evaluation.measure import PgdTest, correct, craft, survive_pgd

__all__ = ["AutoAttack", "PgdTest", "autoattack", "correct", "craft", "survive_pgd"]
