"""train(): the loop around the step, with validation, checkpoints and Keras callbacks."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.data.batches import training_batches
from keras_aaa.training.checkpoint import SECONDS_BETWEEN, Checkpointer, Progress
from keras_aaa.training.distribution import distribute
from keras_aaa.training.recipe import Recipe
from keras_aaa.training.schedule import attack_settings, eps_fraction, learning_rate
from keras_aaa.training.step import make_step
from keras_aaa.training.task import Task
from keras_aaa.training.validation import Validator

# A collapse of single-step training: right on its own examples, wrong on PGD's.
COLLAPSE_TRAINED, COLLAPSE_PROBED = 0.5, 0.1


class TrainingError(RuntimeError):
    """A run that cannot go on: its loss is not finite, or it collapsed."""


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
    """Train `task.trained` in place, resuming from `workdir` where a run was broken off.

    Batch order, random starts and the classifier drawn for a step derive from (seed, step), so
    that on the CPU a run broken off and resumed ends with the same weights, bit for bit.

    Args:
        task: what to train; its models must have been built in the strategy's scope.
        recipe: the hyperparameters.
        train_data: examples (image, label), as keras_aaa.data.load gives them.
        validation_data: images [n, h, w, c] and labels [n].
        workdir: the run's folder; checkpoints go to workdir/checkpoints.
        precision: "float32" or "bfloat16" (the trained model built under mixed_bfloat16).
        strategy: of tf.distribute, or None for the present one.
        callbacks: stock or own Keras callbacks; they see the trained model.
        checkpoint_seconds: time between checkpoints within an epoch; one is written after each.

    Returns:
        Progress, with one dict of training and validation figures an epoch.

    Raises:
        TrainingError: if the loss is not finite or single-step training collapsed; the last good
            checkpoint stays.
        ValueError: if there are too few examples for one batch.
    """
    strategy = strategy or tf.distribute.get_strategy()
    if recipe.train_examples:
        train_data = train_data.take(recipe.train_examples)
    train_data = train_data.cache()
    size = int(train_data.reduce(np.int64(0), lambda count, _: count + 1))
    steps_per_epoch = size // recipe.batch_size
    if not steps_per_epoch:
        raise ValueError(f"batch_size {recipe.batch_size} is more than the {size} examples.")
    total = recipe.epochs * steps_per_epoch

    model = task.trained
    with strategy.scope():
        optimizer = keras.optimizers.Adam(recipe.learning_rate)
        optimizer.build(model.trainable_variables)
        # Stock callbacks look for model.optimizer; fit() itself is never used.
        model.compile(optimizer=optimizer)
        validate = Validator(task, *validation_data, recipe, precision)
    run_step = _distributed_step(task, optimizer, recipe.batch_size, precision, strategy)

    progress = Progress()
    folder = Path(workdir) / "checkpoints"
    checkpoints = Checkpointer(folder, model, optimizer, progress, checkpoint_seconds)
    if checkpoints.restore() and progress.step < total:
        logging.warning("Resuming %s at step %d of %d.", workdir, progress.step, total)

    report = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=recipe.epochs, steps=steps_per_epoch, verbose=0
    )
    model.stop_training = False
    report.on_train_begin()
    while progress.step < total and not model.stop_training:
        epoch, done = divmod(progress.step, steps_per_epoch)
        report.on_epoch_begin(epoch)
        batches = training_batches(
            train_data,
            size=size,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epoch=epoch,
            skip=done,
            shift=recipe.shift,
            flip=bool(recipe.flip),
        )
        began = time.monotonic()
        for images, labels, noise in distribute(batches, strategy, recipe.batch_size):
            step = progress.step
            report.on_train_batch_begin(step % steps_per_epoch)
            val_losses = [row["val_loss"] for row in progress.history]
            if recipe.schedule != "constant":
                optimizer.learning_rate = learning_rate(recipe, step, total, val_losses)
            attack_steps, step_size = attack_settings(recipe, step, total)
            fraction = eps_fraction(recipe, step, steps_per_epoch)
            eps = task.threat.eps if task.threat else 0.0
            sums = run_step(
                images,
                labels,
                noise,
                tf.constant(eps * fraction, tf.float32),
                tf.constant(attack_steps),
                tf.constant(step_size * fraction, tf.float32),
                _drawn(recipe.seed, step, len(task.classifiers)),
            )
            values = {name: float(value) for name, value in sums.items()}
            if not math.isfinite(values["loss"]):
                raise TrainingError(
                    f"The loss is not finite at step {step}; the last checkpoint before it is kept "
                    f"in {workdir}. Try a lower learning rate or float32."
                )
            for name, value in values.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.step += 1
            seen = (progress.step - epoch * steps_per_epoch) * recipe.batch_size
            means = {name: value / seen for name, value in progress.sums.items()}
            report.on_train_batch_end(step % steps_per_epoch, means)
            if progress.step % steps_per_epoch:
                now = time.monotonic()
                progress.seconds, began = progress.seconds + now - began, now
                checkpoints.save_if_due()
        progress.seconds += time.monotonic() - began
        logs = {**means, "learning_rate": float(optimizer.learning_rate.numpy()), **validate()}
        if epoch >= recipe.eps_warmup_epochs:
            _check_collapse(logs, epoch)
        progress.history.append(logs)
        progress.sums = {}
        checkpoints.save()
        report.on_epoch_end(epoch, logs)
    report.on_train_end()
    return progress


def _distributed_step(task, optimizer, batch_size, precision, strategy):
    with strategy.scope():
        step = make_step(task, optimizer, batch_size, precision)

    # One graph a classifier: its index is a Python int.
    @tf.function
    def run(images, labels, noise, eps, attack_steps, step_size, classifier):
        arguments = (images, labels, noise, eps, attack_steps, step_size, classifier)
        sums = strategy.run(step, args=arguments)
        return {k: strategy.reduce("SUM", v, axis=None) for k, v in sums.items()}

    return run


def _drawn(seed: int, step: int, classifiers: int) -> int:
    return int(np.random.default_rng((seed, step)).integers(classifiers)) if classifiers > 1 else 0


def _check_collapse(logs: dict[str, float], epoch: int) -> None:
    probed = logs.get("val_robust_accuracy", 1.0)
    if logs["accuracy"] > COLLAPSE_TRAINED and probed < COLLAPSE_PROBED:
        raise TrainingError(
            f"Training collapsed in epoch {epoch + 1}: {logs['accuracy']:.1%} on its own attack, "
            f"{probed:.1%} under PGD. Use more attack steps, a smaller attack step or a longer eps "
            "warm-up."
        )
