"""Take a compiled step on given batches with JAX; arguments: folder, attack steps."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

folder, attack_steps = Path(sys.argv[1]), int(sys.argv[2])
package = Path(find_spec("keras_aaa").origin).parent / "training"
sys.path[:0] = [str(package / "compiled"), str(package)]  # where a job has copies
from job_files import load_arrays  # noqa: E402
from job_steps import module  # noqa: E402

jax.config.update("jax_enable_x64", True)
about = json.loads((folder / "steps" / "training.json").read_text())
step = jax.jit(module(folder / "steps", about["modules"]["step"][0]))
kept = dict(sorted((s["array"], s["dtype"]) for s in about["state"] if "array" in s))
stored = load_arrays(folder / about["start"], kept.values())
state = [
    stored[s["array"]] if "array" in s else np.zeros(s["shape"], s["dtype"]) for s in about["state"]
]
with np.load(folder / "frozen.npz") as file:
    frozen = [file[f"arr_{i}"] for i in range(len(file.files))]
batches = np.load(folder / "batches.npz")
settings = (np.float32(0.1), np.float32(0.1), np.int32(attack_steps), np.float32(0.05))
losses = []
for x, y, noise in zip(batches["images"], batches["labels"], batches["noise"], strict=True):
    found = step(x, y, noise, *settings, np.float32(1e-3), *state, *frozen)
    losses.append(float(found[0]))
    state = [np.asarray(each) for each in found[2 : 2 + len(state)]]
np.savez(folder / "after.npz", *state, losses=losses)
