"""Training runs that are executed elsewhere: written as a job, taken back as its result."""

import copy
import json
from pathlib import Path

import keras

from keras_aaa.results import provenance
from keras_aaa.training import Recipe, Task
from keras_aaa.training.compiled import Job, export_training, result


def export(
    job: Job,
    task: Task,
    recipe: Recipe,
    identity: dict,
    classifiers,
    start,
) -> None:
    """Write a run into a job, in place of training.

    Args:
        job: that is being written.
        task, recipe, identity, classifiers, start: the run's, as in experiments.train_run.

    Raises:
        ValueError: if the run begins with weights that the same job trains.
    """
    name = identity["model"]
    if start is not None and start.pending:
        raise ValueError(
            f"--compile_to: {name} would begin with {start.name}, which the job has yet to train; "
            "train that in a job of its own, or leave out what it begins with."
        )
    fresh = start is None
    folder = job.folder / name
    export_training(task, recipe, folder, precision=identity["precision"], fresh=fresh)
    frozen = [(c.name, c.model, c.pending) for c in classifiers]
    job.add(name, identity, frozen)
    print(f"{name}: written into {folder}.", flush=True)


def take_result(folder: Path, name: str, identity: dict, model: keras.Model) -> dict:
    """Give the model the weights of a job's result; return the run's record.

    Args:
        folder: the job's.
        name, identity, model: the run's, as in experiments.train_run.

    Raises:
        ValueError: if the job has no result of this run; see keras_aaa.training.compiled.result.
    """
    weights, about = result(folder, name, identity)
    model.set_weights(weights)
    progress, identity = about["progress"], copy.deepcopy(identity)
    examples = json.loads((folder / name / "training.json").read_text())["recipe"]["batch_size"]
    examples *= progress["step"]
    identity["recipe"]["epochs"] = progress["epochs"]
    return {
        "identity": identity,
        "provenance": provenance(),
        "history": progress["history"],
        "training_seconds": progress["seconds"],
        "examples_per_second": examples / progress["seconds"],
        "step_seconds": progress["seconds"] / progress["step"],
        "steps": progress["step"],
        "averaged": about["averaged"],
        "executed_by": {
            "jax": about["jax"],
            "device": about["device"],
            "devices": about["devices"],
        },
    }
