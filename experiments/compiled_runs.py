"""Training runs on another machine: write a run into a job, read the job's result."""

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
    """Write a run into a job instead of training it.

    Args:
        job: the job to write to.
        task, recipe, identity, classifiers, start: of the run, as in experiments.train_run.

    Raises:
        ValueError: if the run starts from weights that the same job trains.
    """
    name = identity["model"]
    if start is not None and start.pending:
        raise ValueError(
            f"--compile_to: {name} would start from {start.name}, which the same job trains; train "
            f"{start.name} in a separate job, or leave out the flag that starts from it."
        )
    fresh = start is None
    folder = job.folder / name
    export_training(task, recipe, folder, precision=identity["precision"], fresh=fresh)
    frozen = [(c.name, c.model, c.pending) for c in classifiers]
    job.add(name, identity, frozen)
    print(f"{name}: written into {folder}.", flush=True)


def take_result(folder: Path, name: str, identity: dict, model: keras.Model) -> dict:
    """Set the model's weights from a job's result; return the run's record.

    Args:
        folder: the job's folder.
        name, identity, model: of the run, as in experiments.train_run.

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
