"""The flags of experiments.aaa, and the plan that they ask for.

A flag that nothing of the run would heed is refused: whoever gave it expects it to matter.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping

from absl import flags

import zoo
from experiments import common_flags
from experiments.aaa.models import ENSEMBLE, Plan
from experiments.aaa.studies import Study
from experiments.common_flags import (
    define_compiled,
    define_recipe_flags,
    define_run_flags,
    define_start_from,
    overridden,
)
from experiments.recipes import FULL_SIZE, recipe_for, weighed
from keras_aaa.checks import lookup
from keras_aaa.fast.precision import POLICIES
from keras_aaa.models import ARCHITECTURES
from keras_aaa.training import LOSSES, Loss, Recipe
from keras_aaa.training.recipe import AUTOENCODER_FIELDS

FLAGS = flags.FLAGS
# What is trained -> the fields of a recipe that are not about it.
JOBS = {"natural": AUTOENCODER_FIELDS, "adversarial": AUTOENCODER_FIELDS, "aaa": ()}

# A flag about autoencoders -> whether training by a loss heeds it.
HEEDED_BY: Mapping[str, Callable[[Loss], bool]] = {
    "mse_weight": lambda loss: loss.ce > 0 and loss.mse > 0,
    "temperature": lambda loss: loss.ce > 0,
    "latent_weight": lambda loss: loss.ce > 0,
    "frozen_encoder": lambda _: True,
    "encoder_epochs": lambda _: True,
}

define_run_flags()
define_recipe_flags()
define_start_from()
define_compiled()
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_list("loss", ["ce_mse"], f"Losses to train an autoencoder with: {', '.join(LOSSES)}.")
flags.DEFINE_list(
    "classifiers",
    None,
    "Those to train (where the zoo lacks them) and measure: the paper's if not given. The source "
    "takes part in any case. An MLP-mixer, <dataset>_mixer, is beyond the paper.",
)
flags.DEFINE_bool("ensemble", False, "Also train one on all classifiers, one drawn a step.")
flags.DEFINE_integer("latent", None, "Size of the latent vector, where there is one.", 1, 65536)
flags.DEFINE_integer(
    "encoder_epochs",
    0,
    "Epochs in which the encoder alone is first trained under attack, as a classifier.",
    0,
    10_000,
)
flags.DEFINE_integer("width", None, "Filters of the autoencoder's first convolution.", 1, 4096)
flags.DEFINE_integer(
    "long_examples", 0, "Examples for the longest PGD on defences, the first ones; 0 takes all.", 0
)
flags.DEFINE_enum("crafting", "float32", list(POLICIES), "Precision that test attacks craft in.")
flags.DEFINE_bool(
    "baseline",
    False,
    "Also train the adversarial-training baselines; with --from_zoo, those that it has.",
)
flags.DEFINE_bool("train_classifiers", False, "Train the natural classifiers, zoo or not.")
flags.DEFINE_bool("from_zoo", False, "Train nothing: measure the models of the zoo.")
flags.DEFINE_bool("publish", False, "Write the accuracies onto the zoo's cards; with --from_zoo.")


def plan(study: Study) -> Plan:
    """Return what the flags ask for.

    Raises:
        ValueError: for an unknown name, a size that the autoencoder lacks, and flags that nothing
            of the run would heed or that contradict each other.
    """
    _check_from_zoo()
    _check_start(study)
    _check_compiled()
    recipes = {
        job: overridden(recipe_for(FLAGS.dataset, job, FLAGS.recipe), without)
        for job, without in JOBS.items()
    }
    losses = {name: lookup("loss", name, LOSSES) for name in FLAGS.loss if name}
    losses |= {ENSEMBLE: LOSSES["ce_mse"]} if FLAGS.ensemble else {}
    _check_heeded(losses)
    losses = {name: weighed(loss, recipes["aaa"]) for name, loss in losses.items()}
    known = inspect.signature(ARCHITECTURES[study.autoencoder.architecture]).parameters
    sizes = {name: FLAGS[name].value for name in ("latent", "width") if FLAGS[name].value}
    for name in sizes:
        if name not in known:
            raise ValueError(f"--{name}: the autoencoder of {FLAGS.dataset} has no such size.")
    narrow = "width" in sizes and sizes["width"] < known["width"].default
    return Plan(
        losses,
        study.autoencoder.with_sizes(**sizes),
        ("small",) if narrow else (),
        recipes,
        FLAGS.baseline,
        tuple(study.tables) if FLAGS.train_classifiers else (),
        FLAGS.from_zoo,
        FLAGS.start_from,
        FLAGS.encoder_epochs,
    )


def _check_from_zoo() -> None:
    """Refuse flags about training with --from_zoo, and --publish without it."""
    training = [field.name for field in dataclasses.fields(Recipe)]
    training += ["train_classifiers", "start_from", "encoder_epochs", "precision"]
    given = [name for name in training if FLAGS[name].present]
    # Some recipes are about the classifiers' size as well.
    given += ["recipe"] * (FLAGS["recipe"].present and FLAGS.recipe not in FULL_SIZE)
    if FLAGS.from_zoo and given:
        flags_given = ", ".join(f"--{name}" for name in given)
        raise ValueError(f"--from_zoo trains nothing: leave out {flags_given}.")
    if FLAGS.publish and not FLAGS.from_zoo:
        raise ValueError("--publish writes onto cards of the zoo: expected --from_zoo with it.")


def _check_compiled() -> None:
    """Refuse what the flags about jobs contradict."""
    given = [name for name in common_flags.COMPILED if FLAGS[name].value]
    if len(given) > 1 or (given and FLAGS.from_zoo):
        raise ValueError(
            "--compile_to writes a job, --compiled takes its results, --from_zoo trains nothing: "
            "expected one of them."
        )
    if FLAGS.compile_to and FLAGS.encoder_epochs:
        raise ValueError(
            "--encoder_epochs: a job cannot begin one training with another's result yet; leave it "
            "out, or name a trained autoencoder by --start_from."
        )


def _check_start(study: Study) -> None:
    """Refuse a --start_from that no model of the run would begin with."""
    given = FLAGS.start_from
    trained = list(study.tables) * FLAGS.train_classifiers
    trained += [f"{name}_pgd" for name in study.baselines] * FLAGS.baseline
    if given is None or given in trained:
        return
    if zoo.info(given).kind == "classifier":
        raise ValueError(
            f"--start_from: {given} is a classifier, which begins only its own training; "
            "expected --train_classifiers or --baseline with it."
        )
    if not any(FLAGS.loss) and not FLAGS.ensemble:
        raise ValueError(
            f"--start_from: {given} begins autoencoders; expected --loss or --ensemble."
        )


def _check_heeded(losses: Mapping[str, Loss]) -> None:
    """Refuse flags about autoencoders that none of these losses heeds."""
    for name, heeded in HEEDED_BY.items():
        if FLAGS[name].present and not any(heeded(loss) for loss in losses.values()):
            trained = f"of {', '.join(losses)}" if losses else "of no autoencoder"
            raise ValueError(
                f"--{name}: this run is {trained}, which does not heed it; leave it out."
            )
