"""Export a training to files: compiled step and validation, initial state and settings."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_aaa.attacks._pgd import pgd_graph
from keras_aaa.fast.fast_copy import fast_copy, freeze
from keras_aaa.models.float16_kernels import SMALL
from keras_aaa.training.averages import Averages
from keras_aaa.training.compiled.job_files import shrunk, weights_hash
from keras_aaa.training.compiled.lower import Module, lower
from keras_aaa.training.recipe import Recipe
from keras_aaa.training.step import StepInputs, make_optimizer, make_step
from keras_aaa.training.task import Task
from keras_aaa.training.validation import score_graph, validated_loss


def export_training(
    task: Task,
    recipe: Recipe,
    folder: Path,
    *,
    precision: str,
    fresh: bool,
) -> dict:
    """Write a training into a job's sub-folder: training.json and the compiled modules.

    The initial arrays go into the job's folder "arrays". The step comes from the same code as the
    step of `train`.

    Args:
        task: the task to train.
        recipe: the hyperparameters; its batch size is compiled in.
        folder: the sub-folder; created if missing.
        precision: "float32" or "bfloat16". For "bfloat16", build the trained model under
            mixed_bfloat16.
        fresh: whether the trained model starts from random weights. The job then draws its large
            kernels itself, from uniform distributions with the kernels' present variance.

    Returns:
        The content of training.json.

    Raises:
        ValueError: if JAX is not installed.
    """
    optimizers = {loss: make_optimizer(recipe, task.trained) for loss in task.losses}
    averages = Averages(task.trained, recipe.average_decay) if recipe.average_decay else None
    state = [
        *task.trained.variables,
        *(averages.variables if averages else ()),
        *(variable for optimizer in optimizers.values() for variable in optimizer.variables),
    ]
    step = make_step(task, optimizers, recipe.batch_size, precision, averages)
    shape = tuple(task.trained.input_shape[1:])
    folder.mkdir(parents=True, exist_ok=True)

    versions = set()

    def write(stem: str, module: Module) -> dict:
        versions.add(module.version)
        path = folder / f"{stem}.stablehlo.gz"
        # Without a time in the file, the same module always has the same hash.
        path.write_bytes(gzip.compress(module.artifact, mtime=0))
        return {"file": path.name, "takes": module.takes, "gives": module.gives}

    frozen = task.classifiers
    modules: dict[str, list] = {"step": [], "validation": []}
    for index in range(max(1, len(frozen))):
        fixed = list(frozen[index].variables) if frozen else []
        modules["step"].append(
            write(f"step_{index}", _step(step, optimizers, recipe, shape, [*state, *fixed], index))
        )
        variables = [*task.trained.variables, *fixed]
        validation = _validation(task, index, recipe, precision, shape, variables)
        modules["validation"].append(write(f"validation_{index}", validation))
    indices = {id(variable): index for index, variable in enumerate(task.trained.variables)}
    starts, arrays = _starts(state, fresh)
    start = save_arrays(folder.parent / "arrays", arrays)
    described = {
        "recipe": dataclasses.asdict(recipe),
        "precision": precision,
        "stablehlo": versions.pop(),
        "image_shape": list(shape),
        "eps": task.threat.eps if task.threat else None,
        "start": start,
        "state": starts,
        "model_variables": len(task.trained.variables),
        "averaged": [indices[id(v)] for v in averages.averaged] if averages else [],
        "published": [indices[id(v)] for v in task.published.weights],
        "round_from": SMALL,
        "modules": modules,
    }
    (folder / "training.json").write_text(json.dumps(described, indent=1))
    return described


def save_arrays(folder: Path, arrays: list[np.ndarray]) -> str:
    """Write arrays to an .npz file named by their hash; return its path in the job.

    Arrays that lose nothing are stored in float16. Trainings with the same initial arrays, or with
    the same frozen classifier, share a file.
    """
    stored = [shrunk(array) for array in arrays]
    path = folder / f"{weights_hash(stored)[:16]}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path, *stored)
    return f"{folder.name}/{path.name}"


def _step(step, optimizers, recipe: Recipe, shape, state, classifier: int) -> Module:
    size = recipe.batch_size
    image, label = tf.TensorSpec((size, *shape)), tf.TensorSpec((size,), tf.int64)
    number, whole = tf.TensorSpec(()), tf.TensorSpec((), tf.int32)

    def run(*inputs):
        *step_inputs, rate = inputs
        for optimizer in optimizers.values():
            optimizer.learning_rate = rate
        sums = step(StepInputs(*step_inputs), classifier)
        return [sums["loss"], sums["accuracy"]]

    inputs = [image, label, image, number, number, whole, number, number]
    return lower(run, inputs, state)


def _validation(task: Task, index: int, recipe: Recipe, precision, shape, variables) -> Module:
    """Return the validation of a batch: correct clean, correct under PGD, losses for val_loss."""
    # With the training's batch size, a GPU's compiler tunes its convolutions once for both.
    size = min(recipe.batch_size, recipe.validation_examples)
    image, label = tf.TensorSpec((size, *shape)), tf.TensorSpec((size,), tf.int64)
    defence, threat = task.defences()[index], task.threat
    crafting = fast_copy(defence, precision)
    loss, reconstructing = validated_loss(task), task.reconstructing()

    def run(images, labels, noise):
        score = score_graph(freeze(defence), loss, reconstructing)
        clean, losses = score(images, images, labels)
        if threat is None:
            return [clean, clean, losses]
        steps = recipe.validation_steps
        start = threat.perturb(images, noise)
        attack = pgd_graph(freeze(crafting), threat.norm)
        size = tf.constant(threat.default_step_size(steps), tf.float32)
        eps = tf.constant(threat.eps, tf.float32)
        x_adv = attack(images, labels, start, tf.constant(steps), size, eps)
        return [clean, *score(x_adv, images, labels)]

    return lower(run, [image, label, image], variables)


def _starts(state, fresh: bool) -> tuple[list[dict], list[np.ndarray]]:
    """Return each variable's start: zeros, an array by its index, or a draw by its bound."""
    described: list[dict] = []
    arrays: list[np.ndarray] = []
    known: dict[bytes, dict] = {}
    for variable in state:
        value = np.asarray(variable)
        start: dict = {"shape": list(value.shape), "dtype": value.dtype.name}
        if value.any():
            # Averages start with the same arrays as the averaged variables.
            content = value.tobytes()
            if content not in known:
                if fresh and value.ndim > 1 and value.size >= SMALL:
                    known[content] = {"uniform": float(np.sqrt(3) * value.std())}
                    known[content]["draw"] = len(known)
                else:
                    known[content] = {"array": len(arrays)}
                    arrays.append(value)
            start |= known[content]
        described.append(start)
    return described, arrays
