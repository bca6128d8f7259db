"""What changes during a run, each a pure function of the step or of the history."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keras_aaa.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, total: int, val_losses: Sequence[float]) -> float:
    """Return the learning rate of `step` of `total`.

    "plateau" halves it after `plateau_epochs` epochs without a better validation loss, as the AAA
    paper does; "linear" and "cosine" bring it to zero over the part after `decay_from`.
    """
    if recipe.schedule == "plateau":
        return recipe.learning_rate * 0.5 ** _halvings(val_losses, recipe.plateau_epochs)
    begin = recipe.decay_from * total
    if recipe.schedule == "constant" or step < begin:
        return recipe.learning_rate
    left = 1 - (step - begin) / (total - begin)
    if recipe.schedule == "cosine":
        left = 0.5 * (1 - math.cos(math.pi * left))
    return recipe.learning_rate * left


def _halvings(losses: Sequence[float], patience: int) -> int:
    best, waited, halvings = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            halvings, waited = halvings + 1, 0
    return halvings


def eps_fraction(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the part of eps that the attack of `step` may use: a linear warm-up to 1."""
    warmup = recipe.eps_warmup_epochs * steps_per_epoch
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


@dataclass(frozen=True)
class AttackSettings:
    """The training attack of one step: its gradient steps, their size in image units, how far its
    random starts reach and the radius of the ball it stays in, both in multiples of eps."""

    steps: int
    step_size: float
    start_noise: float = 1.0
    ball: float = 1.0


def attack_settings(recipe: Recipe, step: int, total: int) -> AttackSettings:
    """Return the training attack at `step` of `total`."""
    if step >= recipe.late_from * total:
        return AttackSettings(recipe.late_attack_steps, recipe.late_attack_step_size)
    return AttackSettings(
        recipe.attack_steps, recipe.attack_step_size, recipe.start_noise, recipe.attack_ball
    )


def work(recipe: Recipe, step: int, total: int) -> float:
    """Return what `step` costs, in gradients of the defence: the attack's, and the update's."""
    update = 2.0  # the gradient of the weights too, and the optimizer's pass over them
    return attack_settings(recipe, step, total).steps + update
