"""Write a job folder with trainings for another machine, and read their results."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_aaa import data
from keras_aaa.training import schedule
from keras_aaa.training.compiled.export import save_arrays
from keras_aaa.training.compiled.job_files import Problem, digest, read_arrays, read_job
from keras_aaa.training.compiled.lower import check_jax

SCRIPTS = ("run.py", "job_files.py", "job_loop.py", "job_steps.py", "job_training.py")


class Job:
    """A new job folder.

    Args:
        folder: the job folder; must be missing or empty.
        dataset, data_dir: as for keras_aaa.data.load.

    Raises:
        ValueError: if the folder is not empty, or JAX is not installed.
    """

    def __init__(self, folder: Path, dataset: str, data_dir: str | None = None):
        check_jax()
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder}: expected a new folder for the job; this one is not empty.")
        self.folder, self._dataset, self._data_dir = folder, dataset, data_dir
        self._trainings: list[dict] = []

    def add(self, name: str, identity: dict, classifiers: Sequence[tuple]) -> None:
        """Add a training that export_training has written into the folder.

        Args:
            name: the name of the training's folder.
            identity: the settings that distinguish this run from others, for `result`.
            classifiers: (name, model, whether the job itself trains it first) of each frozen
                classifier.
        """
        entries = []
        for classifier, model, trained_here in classifiers:
            arrays = [np.asarray(v) for v in model.variables]
            file = None if trained_here else save_arrays(self.folder / "arrays", arrays)
            indices = {id(v): index for index, v in enumerate(model.variables)}
            entries.append(
                {
                    "name": classifier,
                    "file": file,
                    "shapes": [list(array.shape) for array in arrays],
                    "dtypes": [array.dtype.name for array in arrays],
                    "weights": [indices[id(v)] for v in model.weights],
                }
            )
        self._trainings.append({"name": name, "identity": identity, "classifiers": entries})

    def write(self) -> None:
        """Write the examples, the scripts and job.json, which holds the hash of every file."""
        train = self._write_examples()
        here = Path(__file__).parent
        for script in SCRIPTS:
            shutil.copy(here / script, self.folder)
        shutil.copy(schedule.__file__, self.folder)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        job = {
            "train_examples": train,
            "trainings": self._trainings,
            "files": {str(p.relative_to(self.folder)): digest(p.read_bytes()) for p in files},
        }
        (self.folder / "job.json").write_text(json.dumps(job, indent=1))

    def _write_examples(self) -> int:
        """Write the images that the trainings need, encoded as in the data set.

        Returns:
            The number of training images, which come first.
        """
        parts = []
        for split in ("train", "validation"):
            sizes = [self._recipe(each["name"])[f"{split}_examples"] for each in self._trainings]
            count = max(sizes) if all(sizes) else None  # 0 stands for all
            images, labels = data.encoded(self._dataset, split, self._data_dir)
            parts.append((images[:count], labels[:count]))
        images = [image for part, _ in parts for image in part]
        folder = self.folder / "examples"
        folder.mkdir()
        (folder / "images.bin").write_bytes(b"".join(images))
        np.savez_compressed(
            folder / "index.npz",
            ends=np.cumsum([len(image) for image in images]),
            labels=np.concatenate([labels for _, labels in parts]),
        )
        return len(parts[0][0])

    def _recipe(self, name: str) -> dict:
        return json.loads((self.folder / name / "training.json").read_text())["recipe"]


def result(folder: Path, name: str, identity: dict) -> tuple[list[np.ndarray], dict]:
    """Return the final weights of a job's training, and the description of its run.

    Args:
        folder: the job's folder.
        name: the training's name.
        identity: the identity of the run that takes the result. It must equal the identity in the
            job. Only the hashes of classifiers are compared with the classifiers that were used.

    Returns:
        The published model's weights, in the order that set_weights takes, float32; and the
        result's description: progress, averaged, device, jax and so on.

    Raises:
        ValueError: if there is no result, or it has other files, settings or classifiers.
    """
    job, job_hash = read_job(folder)
    identity = json.loads(json.dumps(identity))  # tuples become lists, as the job's have
    entries = {entry["name"]: entry for entry in job["trainings"]}
    if name not in entries:
        raise Problem(f"{folder}: expected a job that trains {name}; has {', '.join(entries)}.")
    exported = entries[name]["identity"]
    for key in sorted((exported.keys() | identity.keys()) - {"classifiers"}):
        if exported.get(key) != identity.get(key):
            raise Problem(
                f"{folder}: {name} was exported with {key} {exported.get(key)!r}; the command says "
                f"{identity.get(key)!r}."
            )
    saved = read_arrays(folder / "result" / name / "weights")
    if saved is None:
        raise Problem(f"{folder}: no result of {name} yet; run python {folder}/run.py first.")
    arrays, about = saved
    if about["job"] != job_hash:
        raise Problem(f"{folder}: the result of {name} was made by another job's files.")
    if about["classifiers"] != identity["classifiers"]:
        raise Problem(
            f"{folder}: {name} was trained with classifiers {about['classifiers']}; the command "
            f"has {identity['classifiers']}."
        )
    published = json.loads((folder / name / "training.json").read_text())["published"]
    return [arrays[index].astype(np.float32) for index in published], about
