"""How robust a defence is: attacks, masks of who survived, accuracies with their intervals."""

from keras_aaa.evaluation.autoattack import AutoAttack, autoattack
from keras_aaa.evaluation.robustness import PgdTest, correct, craft, survive_pgd

__all__ = ["AutoAttack", "PgdTest", "autoattack", "correct", "craft", "survive_pgd"]
