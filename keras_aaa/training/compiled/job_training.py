"""A training of a job: its arrays and its compiled functions. Copied into each job folder."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
from jax.extend.mlir.dialects import stablehlo
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from job_files import Problem, load_arrays, read_arrays, weights_hash
from job_steps import module, planned_settings, steps_function, validation_function

LONGEST_CALL = 1024  # steps


class Training:
    """A model to train as the job's folder describes it.

    Args:
        folder: the job's.
        entry: the training's in job.json.
        train_examples: of the job.
        result: the folder of all results.
        mesh: the devices, along an axis "batch".
    """

    def __init__(self, folder: Path, entry: dict, train_examples: int, result: Path, mesh: Mesh):
        self.name, self.entry, self.result = entry["name"], entry, result
        self.job, self.folder, self.out = folder, folder / self.name, result / self.name
        about = json.loads((self.folder / "training.json").read_text())
        self.recipe = recipe = SimpleNamespace(**about["recipe"])
        examples = min(recipe.train_examples or train_examples, train_examples)
        self.spec = SimpleNamespace(
            **about | {"recipe": recipe},
            examples=examples,
            steps_per_epoch=examples // recipe.batch_size,
            validation_batch=about["modules"]["validation"][0]["takes"][0][0][0],
        )
        # XLA's loops on a CPU use one thread: there each step is a call of its own.
        self.loops = jax.default_backend() != "cpu"
        self.table_steps = min(self.spec.steps_per_epoch, LONGEST_CALL) if self.loops else 1
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        self.over_batch = NamedSharding(mesh, PartitionSpec("batch"))
        newest = stablehlo.get_current_version()
        if _numbers(about["stablehlo"]) > _numbers(newest):
            raise Problem(
                f"{self.name}: written in StableHLO {about['stablehlo']}; JAX {jax.__version__} "
                f"reads {newest} at the most. Install a newer JAX here, or write the job with an "
                "older one."
            )
        if recipe.batch_size % mesh.size:
            raise Problem(
                f"{self.name}: its batches of {recipe.batch_size} cannot be divided among "
                f"{mesh.size} devices; give --devices."
            )

    def finished(self, job_hash: str) -> bool:
        """Return whether its result lies in the folder of results.

        Raises:
            Problem: if it is another job's.
        """
        found = read_arrays(self.out / "weights")
        if found and found[1]["job"] != job_hash:
            raise Problem(f"{self.out}: another job's result; move it away, or give --result.")
        return found is not None

    def first_state(self) -> list[np.ndarray]:
        """Return what the state's variables begin with."""
        starts, draws = self.spec.state, {}
        kept = dict(sorted((s["array"], s["dtype"]) for s in starts if "array" in s))
        stored = load_arrays(self.job / self.spec.start, kept.values())

        def made(start):
            if "array" in start:
                return stored[start["array"]]
            if "uniform" not in start:
                return np.zeros(start["shape"], start["dtype"])
            if start["draw"] not in draws:
                generator = np.random.default_rng((self.recipe.seed, start["draw"]))
                uniform = generator.uniform(-1, 1, start["shape"]) * start["uniform"]
                draws[start["draw"]] = uniform.astype(start["dtype"])
            return draws[start["draw"]]

        return [np.asarray(made(start), start["dtype"]) for start in starts]

    def frozen(self) -> list[list[np.ndarray]]:
        """Return the weights of each frozen classifier: the job's, or another training's result."""
        return [self._classifier(each) for each in self.entry["classifiers"]] or [[]]

    def _classifier(self, classifier: dict) -> list[np.ndarray]:
        if classifier["file"]:
            return load_arrays(self.job / classifier["file"], classifier["dtypes"])
        found = read_arrays(self.result / classifier["name"] / "weights")
        if found is None:
            raise Problem(f"{self.name}: first train {classifier['name']}, which it stands before.")
        return [a.astype(t) for a, t in zip(found[0], classifier["dtypes"], strict=True)]

    def compile(self, examples: dict) -> None:
        """Compile the steps and the validations."""
        spec, modules = self.spec, self.spec.modules

        def typed(shape, dtype):
            return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=self.everywhere)

        def all_typed(*names):
            return [typed(examples[name].shape, examples[name].dtype) for name in names]

        state = [typed(s["shape"], s["dtype"]) for s in spec.state]
        frozen = [
            [typed(*each) for each in zip(c["shapes"], c["dtypes"], strict=True)]
            for c in self.entry["classifiers"]
        ] or [[]]
        first = planned_settings(spec, self.table_steps, 0, spec.recipe.epochs, [])
        planned = {name: typed(a.shape, a.dtype) for name, a in first.items()}
        runs = [module(self.folder, each) for each in modules["step"]]
        steps = steps_function(spec, runs, self.over_batch, self.loops)
        train = all_typed("train", "train_labels")
        number = typed((), np.int64)
        wanted = [jax.jit(steps, donate_argnums=0).lower(state, number, planned, frozen, *train)]
        for fixed, each in zip(frozen, modules["validation"], strict=True):
            validate = validation_function(spec, module(self.folder, each), self.loops)
            given = (state[: spec.model_variables], fixed)
            images = all_typed("validation", "validation_labels")
            wanted.append(jax.jit(validate).lower(*given, *images))
        with ThreadPoolExecutor() as pool:
            self._take, *self._validates = pool.map(lambda each: each.compile(), wanted)
        self._check_memory()

    def _check_memory(self) -> None:
        """Refuse what the first device has no room for."""
        stats = self.everywhere.mesh.devices.flat[0].memory_stats() or {}  # a CPU has none
        analysis = self._take.memory_analysis()
        if "bytes_limit" not in stats or analysis is None:
            return
        fixed = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
        fixed -= analysis.alias_size_in_bytes
        needed, room = analysis.temp_size_in_bytes, stats["bytes_limit"] - fixed
        if needed > room:
            size = self.recipe.batch_size
            raise Problem(
                f"{self.name}: a step of {size} examples needs {(needed + fixed) / 2**30:.1f} GiB, "
                f"the device has {stats['bytes_limit'] / 2**30:.1f}; write the job with "
                f"--batch_size={max(1, int(size * room / needed))} or less."
            )

    def place(self, data: dict, stand_ins: bool = False) -> None:
        """Put the frozen classifiers on the devices, beside the examples that are there.

        Args:
            data: the examples, on the devices.
            stand_ins: whether classifiers that may not be trained yet are only to be timed.
        """
        frozen = self._stand_ins() if stand_ins else self.frozen()
        self.classifier_hashes = {
            each["name"]: weights_hash([arrays[i] for i in each["weights"]])
            for each, arrays in zip(self.entry["classifiers"], frozen, strict=False)
        }
        self.data, self.fixed = data, self.put(frozen)

    def _stand_ins(self) -> list[list[np.ndarray]]:
        draw = np.random.default_rng(0).normal
        return [
            [
                (0.01 * draw(size=shape)).astype(dtype)
                for shape, dtype in zip(each["shapes"], each["dtypes"], strict=True)
            ]
            for each in self.entry["classifiers"]
        ] or [[]]

    def put(self, arrays):
        """Copy arrays to all devices."""
        return jax.device_put(arrays, self.everywhere)

    # What is compiled, on the devices

    def take(self, state, count: int, planned: dict) -> tuple[list, np.ndarray]:
        """Take `count` steps; return the new state and the sums of losses and correct examples."""
        planned, number = self.put((planned, np.int64(count)))
        images, labels = self.data["train"], self.data["train_labels"]
        state, sums = self._take(state, number, planned, self.fixed, images, labels)
        return state, np.asarray(sums)  # waits for the device

    def validate(self, variables, prefix: str = "") -> dict[str, float]:
        """Return the figures of the model's variables, the means over all frozen classifiers."""
        images, labels = self.data["validation"], self.data["validation_labels"]
        sums = [
            validate(variables, fixed, images, labels)
            for validate, fixed in zip(self._validates, self.fixed, strict=True)
        ]
        means = np.mean([np.asarray(each) for each in sums], axis=0)
        clean, robust, loss = (means / self.recipe.validation_examples).tolist()
        figures = {"val_accuracy": clean, "val_loss": loss}
        if self.spec.eps is not None:
            figures["val_robust_accuracy"] = robust
        return {prefix + name: value for name, value in figures.items()}

    def own(self, state) -> list:
        """The model's variables in a state."""
        return list(state[: self.spec.model_variables])

    def averaged(self, state) -> list:
        """The model's variables, with the averages in place of what they are averages of."""
        variables = self.own(state)
        averages = state[self.spec.model_variables :]
        for index, average in zip(self.spec.averaged, averages, strict=False):
            variables[index] = average
        return variables


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
