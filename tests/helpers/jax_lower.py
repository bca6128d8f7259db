"""Lower a job's training and validation for CUDA; print the dialects. Arguments: job, training."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

job, name = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(job))
from job_steps import (  # noqa: E402
    module,
    planned_settings,
    steps_function,
    validation_function,
)

jax.config.update("jax_enable_x64", True)
about = json.loads((job / name / "training.json").read_text())
entries = json.loads((job / "job.json").read_text())["trainings"]
(entry,) = [each for each in entries if each["name"] == name]
recipe = SimpleNamespace(**about["recipe"])
batch = about["modules"]["validation"][0]["takes"][0][0][0]
spec = SimpleNamespace(
    **about | {"recipe": recipe}, examples=16, steps_per_epoch=2, validation_batch=batch
)
over_batch = NamedSharding(Mesh(np.array(jax.devices()[:1]), ("batch",)), PartitionSpec("batch"))
runs = [module(job / name, each, "cuda") for each in about["modules"]["step"]]
steps = steps_function(spec, runs, over_batch, loops=True)


def typed(shape, dtype):
    return jax.ShapeDtypeStruct(tuple(shape), dtype)


state = [typed(each["shape"], each["dtype"]) for each in about["state"]]
frozen = [
    [typed(*each) for each in zip(c["shapes"], c["dtypes"], strict=True)]
    for c in entry["classifiers"]
]
planned = {key: typed(a.shape, a.dtype) for key, a in planned_settings(spec, 2, 0, 1, []).items()}
examples = [typed((16, *about["image_shape"]), np.uint8), typed((16,), np.int64)]
number = typed((), np.int64)
validate = validation_function(
    spec, module(job / name, about["modules"]["validation"][0], "cuda"), loops=True
)
traced = [
    jax.jit(steps).trace(state, number, planned, frozen, *examples),
    jax.jit(validate).trace(state[: spec.model_variables], frozen[0], *examples),
]
text = "\n".join(each.lower(lowering_platforms=("cuda",)).as_text() for each in traced)
print(*sorted(set(re.findall(r'(?:= |^\s+)"?([a-z]\w*)\.\w+', text, re.MULTILINE))))
