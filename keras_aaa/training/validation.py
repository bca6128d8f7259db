"""The validation after each epoch: clean accuracy, and accuracy under PGD."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from keras_aaa.attacks._pgd import pgd, random_start
from keras_aaa.fast.compilation import compiled
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.training.averages import Averages
from keras_aaa.training.distribution import sum_over_workers, worker_slice
from keras_aaa.training.losses import Loss
from keras_aaa.training.recipe import Recipe
from keras_aaa.training.schedule import AVERAGED
from keras_aaa.training.task import Task

VALIDATION_BATCH = 250


class Validator:
    """Measure the task on fixed validation examples, with a fixed random start.

    Args:
        task: the trained task.
        images, labels: the validation examples.
        recipe: gives the number of PGD steps.
        precision: "float32" or "bfloat16", for crafting. Scores use the model's own precision.
        strategy: its workers share the batches, and all get the same metrics.
    """

    def __init__(
        self,
        task: Task,
        images,
        labels,
        recipe: Recipe,
        precision: str,
        strategy: tf.distribute.Strategy,
    ):
        self.task, self.images, self.labels, self.recipe = task, images, labels, recipe
        self.loss = validated_loss(task)
        self.strategy = strategy
        self.defences, self.reconstructing = task.defences(), task.reconstructing()
        # An example's start does not depend on its batch or worker.
        self.starts = random_start(images, task.threat, 0) if task.threat else images
        self.crafting = [fast_copy(defence, precision) for defence in self.defences]

    def __call__(self, averages: Averages | None = None) -> dict[str, float]:
        """Return val_accuracy, val_loss and, with a threat, val_robust_accuracy.

        With averages, also return the metrics of the averaged weights, with the prefix AVERAGED.
        val_loss is the training loss without the latent term. It is measured on the adversarial
        examples, or on the clean examples if there is no threat. With several classifiers, each
        metric is the mean over them.
        """
        figures = self._figures()
        if averages is None:
            return figures
        with averages.in_place():
            averaged = self._figures()
        return figures | {AVERAGED + name: value for name, value in averaged.items()}

    def _figures(self) -> dict[str, float]:
        rows = [self._measure(*pair) for pair in zip(self.defences, self.crafting, strict=True)]
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}

    def _measure(self, defence, crafting) -> dict[str, float]:
        threat, steps = self.task.threat, self.recipe.validation_steps
        sums = {"val_accuracy": 0.0, "val_loss": 0.0}
        if threat is not None:
            sums["val_robust_accuracy"] = 0.0
        batches = range(0, len(self.labels), VALIDATION_BATCH)
        for begin in (batches[i] for i in worker_slice(self.strategy, len(batches))):
            x, y = (a[begin : begin + VALIDATION_BATCH] for a in (self.images, self.labels))
            correct, loss = self._score(defence, x, x, y)
            sums["val_accuracy"] += correct
            if threat is not None:
                size = threat.default_step_size(steps)
                start = self.starts[begin : begin + VALIDATION_BATCH]
                x_adv = pgd(crafting, x, y, threat=threat, steps=steps, step_size=size, start=start)
                correct, loss = self._score(defence, x_adv, x, y)
                sums["val_robust_accuracy"] += correct
            sums["val_loss"] += loss
        totals = sum_over_workers(self.strategy, list(sums.values()))
        return {key: value / len(self.labels) for key, value in zip(sums, totals, strict=True)}

    def _score(self, defence, x_adv, x, y) -> tuple[float, float]:
        run = compiled(defence, score_graph, self.loss, self.reconstructing)
        correct, losses = run(x_adv, x, y)
        return float(np.sum(correct)), float(np.sum(losses))


def validated_loss(task: Task) -> Loss:
    """Return the training loss without its latent term, which should not decide between models."""
    return replace(task.loss, latent=0.0)


def score_graph(logits_of, loss: Loss, reconstructing):
    """Return score(x_adv, x, y) -> (correct, bool [n]; loss of each example, [n])."""

    def score(x_adv, x, y):
        logits = logits_of(x_adv)
        # Only the mse term needs the reconstruction. An unused one is not computed.
        reconstruction = reconstructing(x_adv, training=False) if reconstructing else None
        correct = tf.equal(tf.argmax(logits, axis=-1), y)
        return correct, loss(x, y, reconstruction, logits)

    return score
