"""What changes during a run, each a pure function of the step or of the history.

Jobs for machines without TensorFlow carry a copy of this file: it imports NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_aaa.training.recipe import Recipe

# Figures of averaged weights have this before their names.
AVERAGED = "averaged_"
# A collapse of single-step training: right on its own examples, wrong on PGD's.
COLLAPSE_TRAINED, COLLAPSE_PROBED = 0.5, 0.1


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


def drawn_classifier(seed: int, step: int, classifiers: int) -> int:
    """Return the index of the classifier that `step` trains before, drawn from (seed, step)."""
    return int(np.random.default_rng((seed, step)).integers(classifiers)) if classifiers > 1 else 0


def collapse(recipe: Recipe, figures: Mapping[str, float], epoch: int) -> str | None:
    """Return what to tell of a collapse that the figures of an epoch show, or None.

    Args:
        recipe: no collapse is looked for before its eps_warmup_epochs have passed.
        figures: accuracy in training, and val_robust_accuracy if training is adversarial.
        epoch: of the figures, from 0 on.
    """
    probed = figures.get("val_robust_accuracy", 1.0)
    if epoch < recipe.eps_warmup_epochs:
        return None
    if figures["accuracy"] <= COLLAPSE_TRAINED or probed >= COLLAPSE_PROBED:
        return None
    return (
        f"Training collapsed in epoch {epoch + 1}: {figures['accuracy']:.1%} on its own attack, "
        f"{probed:.1%} under PGD. Use more attack steps, a smaller attack step or a longer eps "
        "warm-up."
    )


def averages_are_better(figures: Mapping[str, float]) -> bool:
    """Return whether the averaged weights validated at least as well as those they are made of.

    Args:
        figures: of one validation: val_robust_accuracy, or val_accuracy where training is not
            adversarial, and the same with AVERAGED before the name.
    """
    decisive = "val_robust_accuracy" if "val_robust_accuracy" in figures else "val_accuracy"
    return figures[AVERAGED + decisive] >= figures[decisive]
