"""The flags that training commands share; every field of a Recipe is a flag."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from absl import flags

from experiments.recipes import RECIPE_NAMES, AutoencoderOptions, options_for
from experiments.train_run import RunContext
from keras_aaa.fast.precision import POLICIES, choose_precision
from keras_aaa.training import Recipe
from keras_aaa.training.checkpoint import SECONDS_BETWEEN
from keras_aaa.training.compiled import Job
from keras_aaa.training.distribution import START_SECONDS, STRATEGIES, choose_strategy
from keras_aaa.training.recipe import ATTACK_FIELDS, LEARNING_RATE_SCHEDULES

FLAGS = flags.FLAGS
COMPILED = ("compile_to", "compiled")  # flag names


def define_run_flags(default_dataset: str = "mnist", measured: str = "test") -> None:
    """Define where and how a command runs, and on which split it measures."""
    flags.DEFINE_string("dataset", default_dataset, "Data set, by its tensorflow-datasets name.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
    flags.DEFINE_string("workdir", None, "The run's folder; one in runs/ by default.")
    flags.DEFINE_enum(
        "precision", "auto", [*POLICIES, "auto"], "Precision of training and of its attack."
    )
    flags.DEFINE_enum(
        "strategy",
        "auto",
        STRATEGIES,
        "tf.distribute strategy; multiworker reads TF_CONFIG or a SLURM step.",
    )
    flags.DEFINE_string("tpu", None, "Name of a TPU, or local for this machine's TPU.")
    flags.DEFINE_float(
        "start_seconds", START_SECONDS, "How long workers wait for each other at the start.", 1
    )
    flags.DEFINE_float(
        "checkpoint_seconds", SECONDS_BETWEEN, "Time between checkpoints within an epoch.", 0, 120
    )
    flags.DEFINE_integer(
        "eval_examples",
        0,
        f"Number of examples of the {measured} split to measure, the first ones; 0 takes all.",
        0,
    )


def run_setting(study: str = "") -> RunContext:
    """Return the setting that the flags describe; only the chief keeps its standard output.

    The run's folder is by default runs/<study>_<dataset>_<recipe>.
    """
    parts = (study, FLAGS.dataset, FLAGS.recipe)
    job, compiled = (FLAGS[name].value if name in FLAGS else None for name in COMPILED)
    setting = RunContext(
        dataset=FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        precision=choose_precision(FLAGS.precision),
        strategy=choose_strategy(FLAGS.strategy, FLAGS.tpu, FLAGS.start_seconds),
        workdir=Path(FLAGS.workdir or "runs/" + "_".join(part for part in parts if part)),
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        job=Job(Path(job), FLAGS.dataset, FLAGS.data_dir) if job else None,
        compiled=Path(compiled) if compiled else None,
    )
    if not setting.chief:  # errors still go to stderr
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    return setting


def test_examples(available: int, flag: str = "eval_examples") -> int:
    """Return the number of examples that the flag asks for; 0 means all available ones.

    Raises:
        ValueError: if fewer are available.
    """
    wanted = FLAGS[flag].value
    if wanted > available:
        raise ValueError(
            f"--{flag}: expected 0 to {available}, the number of images; got {wanted}."
        )
    return wanted or available


def define_recipe_flags(default: str = "fast", without: Sequence[str] = ()) -> None:
    """Define --recipe, and for each field of Recipe except `without` a flag that overrides it."""
    flags.DEFINE_string("recipe", default, f"One of {', '.join(RECIPE_NAMES)}.")
    if "schedule" not in without:
        flags.DEFINE_enum("schedule", None, LEARNING_RATE_SCHEDULES, "Overrides the recipe.")
    _define_ranged(Recipe, without)


def define_autoencoder_flags() -> None:
    """Define a flag for each field of AutoencoderOptions."""
    _define_ranged(AutoencoderOptions)


def _define_ranged(settings: type, without: Sequence[str] = ()) -> None:
    """Define a flag for each number among the fields of a dataclass, except `without`."""
    for field in dataclasses.fields(settings):
        if field.name in without or "range" not in field.metadata:
            continue
        low, high = field.metadata["range"]
        define = flags.DEFINE_integer if field.type is int else flags.DEFINE_float
        text = f"Overrides the recipe's: {field.metadata['help']}."
        define(field.name, None, text, lower_bound=low, upper_bound=high)


def define_compiled() -> None:
    """Define the flags for trainings that JAX executes on another machine."""
    to, taken = COMPILED
    flags.DEFINE_string(
        to, None, "New folder; the trainings are written there as a job, and nothing is trained."
    )
    flags.DEFINE_string(taken, None, "Folder of a job that has run; its results replace training.")


def define_start_from() -> None:
    """Define --start_from, for commands that train a model of the zoo's kind."""
    flags.DEFINE_string(
        "start_from",
        None,
        "Zoo name of the model whose weights initialise the training; a narrower unet or "
        "conv_autoencoder is widened.",
    )


def overridden(recipe: Recipe) -> Recipe:
    """Return the recipe with the values of the flags that were set.

    A recipe without a training attack ignores the flags about the training attack.
    """
    ignored = () if recipe.attack_steps else ATTACK_FIELDS
    return dataclasses.replace(recipe, **_set_flags(Recipe, ignored))


# field of a recipe -> (whether a recipe uses it, what to do)
_USED_IF: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "plateau_epochs": (lambda r: r.schedule == "plateau", "give --schedule=plateau"),
    "decay_from": (lambda r: r.schedule in ("linear", "cosine"), "give --schedule=linear"),
    "late_attack_steps": (lambda r: r.late_from < 1, "give --late_from below 1"),
    "late_attack_step_size": (lambda r: r.late_from < 1, "give --late_from below 1"),
}


def check_used(recipes: Iterable[Recipe]) -> None:
    """Refuse the flag of a field that none of these recipes uses.

    Args:
        recipes: of all trainings of the run, from `overridden`.
    """
    recipes = list(recipes)
    for name, (uses, advice) in _USED_IF.items():
        if name in FLAGS and FLAGS[name].present and not any(map(uses, recipes)):
            raise ValueError(
                f"--{name}: no training of this run uses it; {advice}, or leave it out."
            )


def autoencoder_options() -> AutoencoderOptions:
    """Return the options that belong to --recipe, with the values of the flags that were set."""
    options = options_for(FLAGS.dataset, FLAGS.recipe)
    return dataclasses.replace(options, **_set_flags(AutoencoderOptions))


def _set_flags(settings: type, ignored: Sequence[str] = ()) -> dict:
    """Return the fields of a dataclass that flags set, with the values of these flags."""
    names = [field.name for field in dataclasses.fields(settings) if field.name in FLAGS]
    return {
        name: FLAGS[name].value
        for name in names
        if name not in ignored and FLAGS[name].value is not None
    }
