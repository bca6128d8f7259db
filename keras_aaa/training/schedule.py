"""Schedules of a run: pure functions of the step or of the history.

Jobs for machines without TensorFlow contain a copy of this file, so it imports only NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_aaa.training.recipe import Recipe

# Prefix for the metrics of averaged weights.
AVERAGED = "averaged_"
# Single-step training collapsed if the accuracy is above the first value on its own adversarial
# examples and below the second value on PGD's.
COLLAPSE_TRAINED, COLLAPSE_PROBED = 0.5, 0.1


def learning_rate(recipe: Recipe, step: int, total: int, val_losses: Sequence[float]) -> float:
    """Return the learning rate at `step` of `total`.

    "plateau" halves it after `plateau_epochs` epochs without a lower validation loss, as in the AAA
    paper. "linear" and "cosine" decay it to zero after the fraction `decay_from` of the run.
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
    """Return the fraction of eps that the attack of `step` uses: a linear warm-up to 1."""
    warmup = recipe.eps_warmup_epochs * steps_per_epoch
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


@dataclass(frozen=True)
class AttackSettings:
    """The training attack of one step.

    Args:
        steps: number of gradient steps.
        step_size: image units.
        start_noise: radius of random starts, in multiples of eps.
        ball: radius of the ball that the steps stay in, in multiples of eps.
    """

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
    """Return the cost of `step` in gradients of the defence: attack steps plus the update."""
    update = 2.0  # the gradient of the weights, and the optimizer's pass over them
    return attack_settings(recipe, step, total).steps + update


def drawn_classifier(seed: int, step: int, classifiers: int) -> int:
    """Return the index of the frozen classifier of `step`, drawn from (seed, step)."""
    return int(np.random.default_rng((seed, step)).integers(classifiers)) if classifiers > 1 else 0


def collapse(recipe: Recipe, figures: Mapping[str, float], epoch: int) -> str | None:
    """Return an error message if the metrics of an epoch show a collapse, or None.

    Args:
        recipe: the check starts after its eps_warmup_epochs.
        figures: accuracy in training, and val_robust_accuracy if training is adversarial.
        epoch: the epoch of the metrics, from 0 on.
    """
    probed = figures.get("val_robust_accuracy", 1.0)
    if epoch < recipe.eps_warmup_epochs:
        return None
    if figures["accuracy"] <= COLLAPSE_TRAINED or probed >= COLLAPSE_PROBED:
        return None
    return (
        f"Training collapsed in epoch {epoch + 1}: accuracy {figures['accuracy']:.1%} on its own "
        f"attack, {probed:.1%} under PGD. Use more attack steps, a smaller step size or a longer "
        "eps warm-up."
    )


def averages_are_better(figures: Mapping[str, float]) -> bool:
    """Return whether the averaged weights are at least as accurate as the trained weights.

    Args:
        figures: metrics of one validation: val_robust_accuracy, or val_accuracy if training is
            not adversarial. The same metric of the averaged weights has the prefix AVERAGED.
    """
    decisive = "val_robust_accuracy" if "val_robust_accuracy" in figures else "val_accuracy"
    return figures[AVERAGED + decisive] >= figures[decisive]
