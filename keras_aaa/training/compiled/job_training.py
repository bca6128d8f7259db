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
    """A model to train, as the job's folder describes it.

    Args:
        folder: the job's folder.
        entry: the training's entry in job.json.
        train_examples: number of training examples in the job.
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
        # On a CPU, XLA's loops use one thread, so each step is a separate call there.
        self.loops = jax.default_backend() != "cpu"
        self.table_steps = min(self.spec.steps_per_epoch, LONGEST_CALL) if self.loops else 1
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        self.over_batch = NamedSharding(mesh, PartitionSpec("batch"))
        newest = stablehlo.get_current_version()
        if _numbers(about["stablehlo"]) > _numbers(newest):
            raise Problem(
                f"{self.name}: written in StableHLO {about['stablehlo']}; JAX {jax.__version__} "
                f"reads {newest} or older. Install a newer JAX here, or write the job with an "
                "older JAX."
            )
        if recipe.batch_size % mesh.size:
            raise Problem(
                f"{self.name}: its batches of {recipe.batch_size} cannot be divided among "
                f"{mesh.size} devices; set --devices to a divisor of {recipe.batch_size}."
            )

    def finished(self, job_hash: str) -> bool:
        """Return whether the training's result is in the folder of results.

        Raises:
            Problem: if the result is another job's.
        """
        saved = read_arrays(self.out / "weights")
        if saved and saved[1]["job"] != job_hash:
            raise Problem(f"{self.out}: another job's result; move it away, or change --result.")
        return saved is not None

    def first_state(self) -> list[np.ndarray]:
        """Return the initial values of the state's variables."""
        starts, draws = self.spec.state, {}
        dtypes = dict(sorted((s["array"], s["dtype"]) for s in starts if "array" in s))
        stored = load_arrays(self.job / self.spec.start, dtypes.values())

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
        """Return each frozen classifier's weights, from the job or another training's result."""
        return [self._classifier(each) for each in self.entry["classifiers"]] or [[]]

    def _classifier(self, classifier: dict) -> list[np.ndarray]:
        if classifier["file"]:
            return load_arrays(self.job / classifier["file"], classifier["dtypes"])
        saved = read_arrays(self.result / classifier["name"] / "weights")
        if saved is None:
            raise Problem(f"{self.name}: first train {classifier['name']}, its frozen classifier.")
        return [a.astype(t) for a, t in zip(saved[0], classifier["dtypes"], strict=True)]

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
        lowered = [jax.jit(steps, donate_argnums=0).lower(state, number, planned, frozen, *train)]
        for fixed, each in zip(frozen, modules["validation"], strict=True):
            validate = validation_function(spec, module(self.folder, each), self.loops)
            models = (state[: spec.model_variables], fixed)
            images = all_typed("validation", "validation_labels")
            lowered.append(jax.jit(validate).lower(*models, *images))
        with ThreadPoolExecutor() as pool:
            self._take, *self._validates = pool.map(lambda each: each.compile(), lowered)
        self._check_memory()

    def _check_memory(self) -> None:
        """Raise Problem if a step needs more memory than the first device has."""
        stats = self.everywhere.mesh.devices.flat[0].memory_stats() or {}  # a CPU has no stats
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
                f"the device has {stats['bytes_limit'] / 2**30:.1f} GiB; write the job with "
                f"--batch_size={max(1, int(size * room / needed))} or less."
            )

    def place(self, data: dict, stand_ins: bool = False) -> None:
        """Copy the frozen classifiers to the devices, where the examples already are.

        Args:
            data: the examples, on the devices.
            stand_ins: whether to use random weights, for timing. The classifiers may not be
                trained yet.
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

    # Compiled functions

    def take(self, state, count: int, planned: dict) -> tuple[list, np.ndarray]:
        """Take `count` steps; return the new state and the sums of losses and correct examples."""
        planned, number = self.put((planned, np.int64(count)))
        images, labels = self.data["train"], self.data["train_labels"]
        state, sums = self._take(state, number, planned, self.fixed, images, labels)
        return state, np.asarray(sums)  # waits for the device

    def validate(self, variables, prefix: str = "") -> dict[str, float]:
        """Return the metrics of the model's variables, the means over all frozen classifiers."""
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
        """Return the model's variables in a state."""
        return list(state[: self.spec.model_variables])

    def averaged(self, state) -> list:
        """Return the model's variables, with averages in place of the averaged variables."""
        variables = self.own(state)
        averages = state[self.spec.model_variables :]
        for index, average in zip(self.spec.averaged, averages, strict=False):
            variables[index] = average
        return variables


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
