"""The flags of experiments.aaa, and the plan that they describe.

A flag without an effect on the run is refused, because its user expects an effect.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping

from absl import flags

import zoo
from experiments import common_flags
from experiments.aaa.models import ENSEMBLE, Plan
from experiments.aaa.studies import AaaStudy
from experiments.common_flags import (
    autoencoder_options,
    check_used,
    define_autoencoder_flags,
    define_compiled,
    define_recipe_flags,
    define_run_flags,
    define_start_from,
    overridden,
)
from experiments.recipes import FULL_SIZE, AutoencoderOptions, recipe_for
from keras_aaa.checks import lookup
from keras_aaa.fast.precision import POLICIES
from keras_aaa.models import ARCHITECTURES
from keras_aaa.training import LOSSES, Loss, Recipe

FLAGS = flags.FLAGS
TRAININGS = ("natural", "adversarial", "aaa")

# flag about autoencoders -> whether an autoencoder of this loss uses it
HEEDED_BY: Mapping[str, Callable[[Loss], bool]] = {
    "mse_weight": lambda loss: loss.ce > 0 and loss.mse > 0,
    "temperature": lambda loss: loss.ce > 0,
    "latent_weight": lambda loss: loss.ce > 0,
    "frozen_encoder": lambda _: True,
    "encoder_epochs": lambda _: True,
    "latent": lambda _: True,
    "width": lambda _: True,
}

define_run_flags()
define_recipe_flags()
define_autoencoder_flags()
define_start_from()
define_compiled()
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_list("loss", ["ce_mse"], f"Losses to train an autoencoder with: {', '.join(LOSSES)}.")
flags.DEFINE_list(
    "classifiers",
    None,
    "Classifiers to measure, and to train if the zoo lacks them; by default the paper's. The "
    "source is always included. An MLP-mixer, <dataset>_mixer, is not in the paper.",
)
flags.DEFINE_bool(
    "ensemble", False, "Also train an autoencoder with all classifiers, one drawn per step."
)
flags.DEFINE_integer(
    "latent", None, "Size of the latent vector, if the autoencoder has one.", 1, 65536
)
flags.DEFINE_integer(
    "encoder_epochs",
    0,
    "Epochs of a first training of the encoder alone, under attack, as a classifier.",
    0,
    10_000,
)
flags.DEFINE_integer("width", None, "Filters of the autoencoder's first convolution.", 1, 4096)
flags.DEFINE_integer(
    "long_examples",
    0,
    "Number of examples for the longest PGD on defences, the first ones; 0 takes all.",
    0,
)
flags.DEFINE_enum("crafting", "float32", list(POLICIES), "Precision of crafting the test attacks.")
flags.DEFINE_bool(
    "baseline",
    False,
    "Also train the adversarial-training baselines; with --from_zoo, measure the zoo's.",
)
flags.DEFINE_bool(
    "train_classifiers", False, "Train the natural classifiers even if the zoo has them."
)
flags.DEFINE_bool("from_zoo", False, "Train nothing: measure the models of the zoo.")
flags.DEFINE_bool("publish", False, "Write the accuracies to the zoo's cards; needs --from_zoo.")


def plan(study: AaaStudy) -> Plan:
    """Return the plan that the flags describe.

    Raises:
        ValueError: for an unknown name, for a size that the autoencoder lacks, and for flags that
            have no effect or contradict each other.
    """
    _check_from_zoo()
    _check_start(study)
    _check_compiled()
    recipes = {
        training: overridden(recipe_for(FLAGS.dataset, training, FLAGS.recipe))
        for training in TRAININGS
    }
    check_used(recipes.values())
    losses = {name: lookup("loss", name, LOSSES) for name in FLAGS.loss if name}
    losses |= {ENSEMBLE: LOSSES["ce_mse"]} if FLAGS.ensemble else {}
    _check_heeded(losses)
    options = autoencoder_options()
    if options.frozen_encoder and not (FLAGS.start_from or FLAGS.encoder_epochs):
        raise ValueError(
            "--frozen_encoder: expected a trained encoder; name one by --start_from, or train it "
            "first by --encoder_epochs."
        )
    losses = {name: options.weigh(loss) for name, loss in losses.items()}
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
        bool(options.frozen_encoder),
    )


def _check_from_zoo() -> None:
    """Refuse flags about training with --from_zoo, and --publish without it."""
    fields = (*dataclasses.fields(Recipe), *dataclasses.fields(AutoencoderOptions))
    training = [field.name for field in fields]
    training += ["train_classifiers", "start_from", "encoder_epochs", "precision"]
    chosen = [name for name in training if FLAGS[name].present]
    # The recipes in FULL_SIZE also set the size of the classifiers.
    chosen += ["recipe"] * (FLAGS["recipe"].present and FLAGS.recipe not in FULL_SIZE)
    if FLAGS.from_zoo and chosen:
        flags_given = ", ".join(f"--{name}" for name in chosen)
        raise ValueError(f"--from_zoo trains nothing: leave out {flags_given}.")
    if FLAGS.publish and not FLAGS.from_zoo:
        raise ValueError("--publish writes to the zoo's cards: expected --from_zoo with it.")


def _check_compiled() -> None:
    """Refuse flags that contradict the flags about jobs."""
    chosen = [name for name in common_flags.COMPILED if FLAGS[name].value]
    if len(chosen) > 1 or (chosen and FLAGS.from_zoo):
        raise ValueError(
            "--compile_to writes a job, --compiled takes its results, --from_zoo trains nothing: "
            "expected one of them."
        )
    if FLAGS.compile_to and FLAGS.encoder_epochs:
        raise ValueError(
            "--encoder_epochs: a job's training cannot start from another's result; leave it out, "
            "or name a trained autoencoder by --start_from."
        )


def _check_start(study: AaaStudy) -> None:
    """Refuse a --start_from that no training of the run would start from."""
    start = FLAGS.start_from
    trained = list(study.tables) * FLAGS.train_classifiers
    trained += [f"{name}_pgd" for name in study.baselines] * FLAGS.baseline
    if start is None or start in trained:
        return
    if zoo.info(start).kind == "classifier":
        raise ValueError(
            f"--start_from: {start} is a classifier and initialises only its own training; "
            "expected --train_classifiers or --baseline with it."
        )
    if not any(FLAGS.loss) and not FLAGS.ensemble:
        raise ValueError(
            f"--start_from: {start} initialises autoencoders; expected --loss or --ensemble."
        )


def _check_heeded(losses: Mapping[str, Loss]) -> None:
    """Refuse flags about autoencoders that none of these losses uses."""
    for name, heeded in HEEDED_BY.items():
        if FLAGS[name].present and not any(heeded(loss) for loss in losses.values()):
            trained = ", ".join(losses) or "no autoencoder"
            raise ValueError(
                f"--{name}: expected a loss that uses it, but this run has {trained}; leave it out."
            )
