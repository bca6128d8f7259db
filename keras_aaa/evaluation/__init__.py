"""How robust a defence is: attacks, masks of who survived, accuracies with their intervals."""

from keras_aaa.evaluation.robustness import PgdTest, correct, survive_pgd

__all__ = ["PgdTest", "correct", "survive_pgd"]
