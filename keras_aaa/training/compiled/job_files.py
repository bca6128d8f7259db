"""The files of a job: arrays in pieces, hashes, encoded images. Copied into each job folder."""

import hashlib
import io
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

PIECE = 16 * 2**20  # largest file of a state or a result, in bytes


class Problem(ValueError):
    """An error that the user can fix; its message has one line."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_job(folder: Path) -> tuple[dict, str]:
    """Return the job and its hash; every file must match its hash in job.json."""
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
    """Replace a folder with arrays in pieces and a JSON file; readers see the old or the new one.

    Args:
        folder: the folder to create or replace.
        arrays: the arrays, in the order in which they are read.
        about: further content of the JSON file.
        shrink: whether to store arrays as float16 if they lose nothing, such as rounded kernels.
    """
    arrays = [shrunk(a) if shrink else a for a in map(np.asarray, arrays)]
    data = b"".join(array.tobytes() for array in arrays)
    types = [[list(array.shape), array.dtype.name] for array in arrays]
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        remove(leftover)
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
    """Return the arrays and the JSON file from write_arrays, or None if there are none."""
    old = folder.with_name(folder.name + ".old")
    folder = folder if folder.exists() else old  # interrupted between the two renames
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
    """Read an .npz file's arrays in order, and restore the dtypes of arrays stored as float16."""
    with np.load(path) as file:
        return [file[f"arr_{i}"].astype(dtype) for i, dtype in enumerate(dtypes)]


def load_examples(folder: Path, train: int) -> dict[str, np.ndarray]:
    """Return train, train_labels, validation and validation_labels; images decode to 8 bits.

    Args:
        folder: the job's folder.
        train: the number of training images, which come first.
    """
    from PIL import Image  # reading results does not need it

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
    """Return an array as float16 if that loses nothing, and otherwise unchanged."""
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def rounded(array: np.ndarray, round_from: int) -> np.ndarray:
    """Return a large kernel rounded to float16 as in the zoo, in its own dtype.

    Other arrays, and kernels beyond float16's range, are returned unchanged.

    Args:
        array: a weight.
        round_from: kernels with fewer entries stay unchanged.
    """
    if array.dtype != np.float32 or array.ndim < 2 or array.size < round_from:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16).astype(np.float32)
    return half if np.isfinite(half).all() else array


def weights_hash(arrays: Sequence[np.ndarray]) -> str:
    """Return the sha256 of weights in order."""
    return digest(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
