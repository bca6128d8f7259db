"""The files of a job: arrays in pieces, hashes, encoded images. Copied into each job folder."""

import hashlib
import io
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

PIECE = 16 * 2**20  # bytes of a file of a state or a result, at most


class Problem(ValueError):
    """Something that a person can mend, in one line."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_job(folder: Path) -> tuple[dict, str]:
    """Return the job and its hash; every file must be the one that the job was written with."""
    path = folder / "job.json"
    if not path.is_file():
        raise Problem(f"{folder}: expected a job folder with a job.json; copy the whole folder.")
    job = json.loads(path.read_text())
    for name, expected in job["files"].items():
        if not (folder / name).is_file():
            raise Problem(f"{name}: this file of the job is missing; copy the folder again.")
        if digest((folder / name).read_bytes()) != expected:
            raise Problem(f"{name}: not the file that the job was written with; copy it again.")
    return job, digest(path.read_bytes())


def write_arrays(folder: Path, arrays: Sequence, about: dict, shrink: bool = False) -> None:
    """Replace a folder by arrays in pieces and a JSON file; a reader sees the old or the new.

    Args:
        folder: made or replaced.
        arrays: in the order that they will be read in.
        about: what the JSON file tells besides.
        shrink: whether to store as float16 what loses nothing by it, as rounded kernels.
    """
    arrays = [shrunk(a) if shrink else a for a in map(np.asarray, arrays)]
    data = b"".join(array.tobytes() for array in arrays)
    types = [[list(array.shape), array.dtype.name] for array in arrays]
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for left in (fresh, old):
        remove(left)
    fresh.mkdir(parents=True)
    for index, begin in enumerate(range(0, len(data), PIECE)):
        (fresh / f"piece_{index:03}").write_bytes(data[begin : begin + PIECE])
    about = about | {"arrays": types, "sha256": digest(data)}
    (fresh / "about.json").write_text(json.dumps(about, indent=1))
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    remove(old)


def remove(folder: Path) -> None:
    for file in folder.glob("*"):
        file.unlink()
    if folder.exists():
        folder.rmdir()


def read_arrays(folder: Path) -> tuple[list[np.ndarray], dict] | None:
    """Return what write_arrays wrote, or None if there is nothing."""
    old = folder.with_name(folder.name + ".old")
    folder = folder if folder.exists() else old  # broken off between the two renames
    if not (folder / "about.json").is_file():
        return None
    about = json.loads((folder / "about.json").read_text())
    data = b"".join(piece.read_bytes() for piece in sorted(folder.glob("piece_*")))
    if digest(data) != about["sha256"]:
        raise Problem(f"{folder}: its pieces are incomplete or damaged; delete the folder.")
    arrays, begin = [], 0
    for shape, name in about["arrays"]:
        count, dtype = math.prod(shape), np.dtype(name)
        arrays.append(np.frombuffer(data, dtype, count, begin).reshape(shape))
        begin += count * dtype.itemsize
    return arrays, about


def load_arrays(path: Path, dtypes) -> list[np.ndarray]:
    """Read an .npz file's arrays in order; what was stored as float16 gets its own type again."""
    with np.load(path) as file:
        return [file[f"arr_{i}"].astype(dtype) for i, dtype in enumerate(dtypes)]


def load_examples(folder: Path, train: int) -> dict[str, np.ndarray]:
    """Decode the images to 8 bits: {train, train_labels, validation, validation_labels}.

    Args:
        folder: the job's.
        train: how many of the images, the first, are the training split's.
    """
    from PIL import Image  # who reads results alone need not have it

    with np.load(folder / "examples" / "index.npz") as index:
        ends, labels = index["ends"], index["labels"]
    blob = (folder / "examples" / "images.bin").read_bytes()

    def decode(index):
        begin = ends[index - 1] if index else 0
        image = np.asarray(Image.open(io.BytesIO(blob[begin : ends[index]])))
        return image if image.ndim == 3 else image[..., None]  # grey

    with ThreadPoolExecutor() as pool:
        images = np.stack(list(pool.map(decode, range(len(ends)), chunksize=256)))
    return {
        "train": images[:train],
        "train_labels": labels[:train],
        "validation": images[train:],
        "validation_labels": labels[train:],
    }


def shrunk(array: np.ndarray) -> np.ndarray:
    """Return an array as float16 where that loses nothing; the rest as it is."""
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def rounded(array: np.ndarray, round_from: int) -> np.ndarray:
    """Return a kernel rounded to float16, in its own type, as the zoo rounds; the rest as it is.

    Args:
        array: a weight.
        round_from: kernels with fewer entries stay as they are.
    """
    if array.dtype != np.float32 or array.ndim < 2 or array.size < round_from:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16).astype(np.float32)
    return half if np.isfinite(half).all() else array


def weights_hash(arrays: Sequence[np.ndarray]) -> str:
    """Return the sha256 of weights in order."""
    return digest(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
