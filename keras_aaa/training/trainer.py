"""train(): the loop around the step, with validation, checkpoints and Keras callbacks."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.data.batches import training_batches
from keras_aaa.inputs import training_examples, validation_examples
from keras_aaa.training.averages import Averages
from keras_aaa.training.checkpoint import (
    SECONDS_BETWEEN,
    Checkpointer,
    Preempted,
    Progress,
    sigterm_noted,
)
from keras_aaa.training.distribution import distribute, is_chief, sum_over_workers, worker_index
from keras_aaa.training.recipe import Recipe
from keras_aaa.training.schedule import (
    attack_settings,
    averages_are_better,
    collapse,
    drawn_classifier,
    eps_fraction,
    learning_rate,
)
from keras_aaa.training.step import StepInputs, make_optimizer, make_step
from keras_aaa.training.task import Task
from keras_aaa.training.validation import Validator


class TrainingError(RuntimeError):
    """The run cannot continue: the loss is not finite, or training collapsed."""


def train(
    task: Task,
    recipe: Recipe,
    *,
    train_data: tf.data.Dataset,
    validation_data: tuple[tf.Tensor, tf.Tensor],
    workdir: Path,
    precision: str = "float32",
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint_seconds: float = SECONDS_BETWEEN,
) -> Progress:
    """Train `task.trained` in place, and resume from `workdir` if a run was interrupted.

    With recipe.average_decay, the model ends with the averaged weights if they are at least as
    accurate in the last validation.

    Batch order, random starts and the drawn classifier depend only on (seed, step). On the CPU, an
    interrupted and resumed run therefore ends with the same weights, bit for bit.

    Args:
        task: the task to train; build `task.trained` in the strategy's scope.
        recipe: the hyperparameters.
        train_data: unbatched examples (image, label), as keras_aaa.data.load returns them.
        validation_data: images [n, h, w, c] and labels [n].
        workdir: the run's folder; checkpoints go to workdir/checkpoints. Several workers must all
            see the same folder; the first worker writes.
        precision: "float32" or "bfloat16". For "bfloat16", build the trained model under
            mixed_bfloat16.
        strategy: a tf.distribute strategy, or None for the current one.
        callbacks: Keras callbacks; they see `task.trained`. With several workers, give a callback
            that stops the training to all of them.
        checkpoint_seconds: seconds between checkpoints within an epoch. Each epoch also ends with
            a checkpoint.

    Returns:
        Progress, with one dict of training and validation metrics per epoch.

    Raises:
        Preempted: if SIGTERM came to this process or to another worker; the run is saved.
        TrainingError: if the loss is not finite or single-step training collapsed; the last good
            checkpoint remains.
        TypeError, ValueError: for examples that do not fit the task; see training_examples.
        ValueError: if workdir holds checkpoints of another task, loss, threat or recipe.
        ValueError: if there are too few examples for one batch, or if the workers do not see the
            same checkpoints.
    """
    strategy = strategy or tf.distribute.get_strategy()
    defence = task.defences()[0]
    validation_data = validation_examples(validation_data, defence)
    train_data, size = training_examples(train_data, defence, recipe.train_examples)
    steps_per_epoch = size // recipe.batch_size
    if not steps_per_epoch:
        raise ValueError(f"batch_size {recipe.batch_size} is more than the {size} examples.")

    model = task.trained
    with strategy.scope():
        optimizers = {loss: make_optimizer(recipe, model) for loss in task.losses}
        averages = Averages(model, recipe.average_decay) if recipe.average_decay else None
        # Keras callbacks read model.optimizer; fit() itself is never used.
        model.compile(optimizer=optimizers[task.loss])
    # Outside the scope: the variables of fast copies hold no values and need no mirrors.
    validate = Validator(task, *validation_data, recipe, precision, strategy)

    progress = Progress()
    folder = Path(workdir) / "checkpoints"
    loop = _Loop(
        task,
        recipe,
        steps_per_epoch,
        progress,
        Checkpointer(
            folder,
            model,
            tuple(optimizers.values()),
            progress,
            checkpoint_seconds,
            writes=is_chief(strategy),
            averages=averages.variables if averages else (),
        ),
        keras.callbacks.CallbackList(
            list(callbacks), model=model, epochs=recipe.epochs, steps=steps_per_epoch, verbose=0
        ),
        tuple(optimizers.values()),
        _distributed_step(task, optimizers, recipe.batch_size, precision, strategy, averages),
    )
    loop.checkpoints.claim(_description(task, recipe))
    if loop.checkpoints.restore() and progress.step < loop.total:
        logging.warning("Resuming %s at step %d of %d.", workdir, progress.step, loop.total)
    _check_agreement(strategy, progress.step)

    model.stop_training = False
    loop.report.on_train_begin()
    with sigterm_noted() as leaving:
        while (epoch := len(progress.history)) < recipe.epochs and not model.stop_training:
            batches = training_batches(
                train_data,
                size=size,
                batch_size=recipe.batch_size,
                seed=recipe.seed,
                epoch=epoch,
                skip=progress.step - epoch * steps_per_epoch,
                shift=recipe.shift,
                flip=bool(recipe.flip),
            )
            loop.report.on_epoch_begin(epoch)
            try:
                means = loop.run_epoch(distribute(batches, strategy, recipe.batch_size), leaving)
                figures = validate(averages)
            except tf.errors.UnknownError:
                # Python code of a classifier failed (a query), before the step changed a weight.
                loop.checkpoints.save()
                raise
            rate = float(model.optimizer.learning_rate.numpy())
            logs = {**means, "learning_rate": rate, **figures}
            if problem := collapse(recipe, logs, epoch):
                raise TrainingError(problem)
            progress.history.append(logs)
            progress.sums = {}
            loop.checkpoints.save()
            loop.report.on_epoch_end(epoch, logs)
        if sum_over_workers(strategy, int(leaving())):
            loop.end()
    if averages and averages_are_better(progress.history[-1]):
        averages.publish()
    loop.report.on_train_end()
    return progress


def _description(task: Task, recipe: Recipe) -> dict:
    """Return everything about a run that its weights depend on, without default values."""
    return {
        "task": type(task).__name__,
        "loss": dataclasses.asdict(task.loss),
        "alternating_losses": [dataclasses.asdict(loss) for loss in task.alternating_losses],
        "threat": dataclasses.asdict(task.threat) if task.threat else None,
        "recipe": recipe.changes(),
    }


@dataclass(frozen=True)
class _Loop:
    """The settings and the state that all steps of a run share."""

    task: Task
    recipe: Recipe
    steps_per_epoch: int
    progress: Progress
    checkpoints: Checkpointer
    report: keras.callbacks.CallbackList
    optimizers: tuple[keras.optimizers.Optimizer, ...]
    run_step: Callable

    @property
    def total(self) -> int:
        return self.recipe.epochs * self.steps_per_epoch

    def run_epoch(self, batches, leaving: Callable[[], bool]) -> dict[str, float]:
        """Take the epoch's remaining steps; return the means over the whole epoch.

        Raises:
            Preempted: if this process or another worker is `leaving`, after a save.
        """
        progress, began = self.progress, time.monotonic()
        for images, labels, noise in batches:
            index = progress.step % self.steps_per_epoch
            self.report.on_train_batch_begin(index)
            ending = self._take_step(images, labels, noise, leaving())
            self.report.on_train_batch_end(index, self._means(index + 1))
            if index + 1 < self.steps_per_epoch:  # the last step is saved after validation
                now = time.monotonic()
                progress.seconds, began = progress.seconds + now - began, now
                if ending:
                    self.end()
                self.checkpoints.save_if_due()
        progress.seconds += time.monotonic() - began
        return self._means(self.steps_per_epoch)

    def _means(self, steps: int) -> dict[str, float]:
        seen = steps * self.recipe.batch_size
        return {name: value / seen for name, value in self.progress.sums.items()}

    def end(self) -> None:
        """Save and raise Preempted."""
        self.checkpoints.save()
        raise Preempted(
            f"Told to end at step {self.progress.step} of {self.total}; saved in "
            f"{self.checkpoints.folder}. The same command resumes from there."
        )

    def _take_step(self, images, labels, noise, leaving: bool) -> bool:
        """Take one step; return whether any worker is leaving. All learn it at the same step."""
        task, recipe, progress = self.task, self.recipe, self.progress
        step = progress.step
        if recipe.schedule != "constant":
            val_losses = [row["val_loss"] for row in progress.history]
            rate = learning_rate(recipe, step, self.total, val_losses)
            for optimizer in self.optimizers:
                optimizer.learning_rate = rate
        attack = attack_settings(recipe, step, self.total)
        fraction = eps_fraction(recipe, step, self.steps_per_epoch)
        eps = fraction * (task.threat.eps if task.threat else 0.0)
        inputs = StepInputs(
            images,
            labels,
            noise,
            start_noise=tf.constant(eps * attack.start_noise, tf.float32),
            eps=tf.constant(eps * attack.ball, tf.float32),
            attack_steps=tf.constant(attack.steps),
            attack_step_size=tf.constant(fraction * attack.step_size, tf.float32),
        )
        classifier = drawn_classifier(recipe.seed, step, len(task.classifiers))
        sums = self.run_step(inputs, tf.constant(float(leaving)), classifier)
        ending = float(sums.pop("leaving")) > 0
        values = {name: float(value) for name, value in sums.items()}
        if not math.isfinite(values["loss"]):
            raise TrainingError(
                f"The loss is not finite at step {step}; the last good checkpoint is in "
                f"{self.checkpoints.folder}. Try a lower learning rate or float32."
            )
        for name, value in values.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value
        progress.step += 1
        return ending


def _distributed_step(task, optimizers, batch_size, precision, strategy, averages):
    step = make_step(task, optimizers, batch_size, precision, averages)

    # The index is a Python int, so each classifier gets its own graph.
    @tf.function
    def run(inputs: StepInputs, leaving, classifier: int):
        def replica_step(own: StepInputs):
            return step(own, classifier) | {"leaving": tf.identity(leaving)}

        sums = strategy.run(replica_step, (inputs,))
        return {name: strategy.reduce("SUM", value, axis=None) for name, value in sums.items()}

    return run


def _check_agreement(strategy: tf.distribute.Strategy, step: int) -> None:
    """Raise ValueError if workers restored different checkpoints: their weights would differ."""
    index, workers = worker_index(strategy)
    restored = np.zeros(workers, np.int64)
    restored[index] = step
    steps = sum_over_workers(strategy, restored)
    if len(set(steps)) > 1:
        raise ValueError(
            f"The workers restored different steps, {steps.tolist()}; expected one workdir that "
            "all workers see, such as a shared folder."
        )
