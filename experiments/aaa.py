"""Adversarially trained autoencoders (AAA): train, attack, compare with the paper.

    python -m experiments.aaa --dataset=mnist                         # one autoencoder, ce_mse
    python -m experiments.aaa --dataset=mnist --loss=ce,mse,ce_mse --baseline   # whole tables
    python -m experiments.aaa --loss=ce,mse,ce_mse --baseline --from_zoo   # the same, no training
    python -m experiments.aaa --dataset=cifar10 --ensemble      # on all classifiers, one a step
    python -m experiments.aaa --classifiers=mnist_mixer --from_zoo   # one that the paper has not

The run's folder holds result.json (everything measured), pictures of the training under attack and
of what autoencoders make of images, if the run is about any, a folder with checkpoints and curves
for each model trained, and zoo/, the trained models as SavedModels with their cards. A run that was
broken off goes on where it was. Only the paper recipe takes VGG-19 at its full width; the others
take a quarter of it.

Paper: AAA Tables 1 to 8.
"""

import dataclasses
import inspect
import sys

from absl import app, flags

import zoo
from experiments import common_flags
from experiments.aaa_models import (
    ENSEMBLE,
    Models,
    Plan,
    add_robust,
    adversarial_history,
    attacked,
    classifiers,
    measured,
    origin,
)
from experiments.cards import artefact_card, card_measurements, publish, save
from experiments.common_flags import (
    define_recipe_flags,
    define_run_flags,
    define_start_from,
    overridden,
    run_setting,
    test_examples,
)
from experiments.console import friendly, print_tables, record
from experiments.estimate import announce
from experiments.measure import measure, parts
from experiments.paper import paper_accuracy
from experiments.pictures import draw_reconstructions
from experiments.recipes import recipe_for, weighed
from experiments.runs import Setting
from experiments.studies import Architecture, Study, study_for
from experiments.tables import tables
from keras_aaa import data
from keras_aaa.evaluation import PgdTest
from keras_aaa.figures import training_curves
from keras_aaa.models import ARCHITECTURES, build, defend
from keras_aaa.models.precision import POLICIES
from keras_aaa.names import lookup
from keras_aaa.results import write_json
from keras_aaa.threat_model import ThreatModel, threat_for
from keras_aaa.training import LOSSES, Recipe
from keras_aaa.training.recipe import AUTOENCODER_FIELDS

FLAGS = flags.FLAGS
# What is trained -> the fields of a recipe that are not about it.
JOBS = {"natural": AUTOENCODER_FIELDS, "adversarial": AUTOENCODER_FIELDS, "aaa": ()}

define_run_flags()
define_recipe_flags()
define_start_from()
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


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    study = study if FLAGS.recipe == "paper" else study.reduced()
    study = study.only(FLAGS.classifiers or list(study.classifiers))
    plan, setting = _plan(study), run_setting()
    test = PgdTest(study.test_steps, study.test_step_size)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir),
        test_examples(spec.examples["test"]),
    )

    models = classifiers(setting, study, plan)
    autoencoder = build(plan.autoencoder.name, **plan.autoencoder.sizes, input_shape=spec.shape)
    defence = defend(autoencoder, models.classifiers[study.source].model)
    announce(
        setting,
        threat,
        attacked(study, models, plan, defence),
        measured(study, models, plan, defence, parts(test.steps, FLAGS.long_examples, len(labels))),
        FLAGS.crafting,
    )
    add_robust(setting, study, models, plan, threat)
    measurements, seconds = _measure(setting, study, models, images, labels, threat, test)
    if not setting.chief:
        return
    result = record(
        "experiments.aaa",
        dataset=FLAGS.dataset,
        threat=threat,
        training=setting.precision,
        crafting=FLAGS.crafting,
    ) | {
        "recipe": FLAGS.recipe,
        "test": {"steps": list(test.steps), "step_size": test.step_size, "seed": test.seed},
        "models": {run.name: origin(run) for run in models.all()},
        "measurements": measurements,
        "seconds": seconds,
    }
    write_json(setting.workdir / "result.json", result)
    written = ["result.json", *_save(setting, study, models, result)]
    histories = {run.name: found for run in models.all() if (found := adversarial_history(run))}
    if histories:
        training_curves(histories, setting.workdir / "training.png")
        written.append("training.png")
    if models.autoencoders:
        draw_reconstructions(
            {loss: run.model for loss, run in models.autoencoders.items()},
            models.classifiers[study.source].model,
            images,
            labels,
            threat=threat,
            test=test,
            path=setting.workdir / "reconstructions.png",
        )
        written.append("reconstructions.png")
    print_tables(tables(result))
    if FLAGS.publish:
        publish({run.name: card_measurements(run.name, result) for run in models.all()})
    print(f"In {setting.workdir}: {', '.join(written)}.")


def _plan(study: Study) -> Plan:
    """What the flags ask for."""
    _check_from_zoo()
    _check_start(study)
    recipes = {
        job: overridden(recipe_for(FLAGS.dataset, job, FLAGS.recipe), without)
        for job, without in JOBS.items()
    }
    losses = {name: lookup("loss", name, LOSSES) for name in FLAGS.loss if name}
    losses |= {ENSEMBLE: LOSSES["ce_mse"]} if FLAGS.ensemble else {}
    losses = {name: weighed(loss, recipes["aaa"]) for name, loss in losses.items()}
    known = inspect.signature(ARCHITECTURES[study.autoencoder.name]).parameters
    sizes = {name: FLAGS[name].value for name in ("latent", "width") if FLAGS[name].value}
    for name in sizes:
        if name not in known:
            raise ValueError(f"--{name}: the autoencoder of {FLAGS.dataset} has no such size.")
    narrow = "width" in sizes and sizes["width"] < known["width"].default
    return Plan(
        losses,
        Architecture(study.autoencoder.name, {**study.autoencoder.sizes, **sizes}),
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
    training += ["train_classifiers", "start_from", "encoder_epochs"]
    given = [name for name in training if FLAGS[name].present]
    # The paper recipe is about the classifiers' size as well.
    given += ["recipe"] * (FLAGS["recipe"].present and FLAGS.recipe != "paper")
    if FLAGS.from_zoo and given:
        flags_given = ", ".join(f"--{name}" for name in given)
        raise ValueError(f"--from_zoo trains nothing: leave out {flags_given}.")
    if FLAGS.publish and not FLAGS.from_zoo:
        raise ValueError("--publish writes onto cards of the zoo: expected --from_zoo with it.")


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


def _measure(
    setting: Setting,
    study: Study,
    models: Models,
    images,
    labels,
    threat: ThreatModel,
    test: PgdTest,
) -> tuple[list[dict], dict[str, float]]:
    long = FLAGS.long_examples
    # (row of the paper's table, model that the row is about, classifier, its table, defence,
    # long_examples). Natural classifiers have nearly all fallen by then: on all it costs nothing.
    wanted = [
        ("natural", name, name, table, models.classifiers[name].model, 0)
        for name, table in study.tables.items()
    ]
    wanted += [
        ("adversarial_training", run.name, run.name, study.tables[name], run.model, long)
        for name, run in models.baselines.items()
    ]
    wanted += [
        (
            f"aaa_{loss}",
            run.name,
            name,
            table,
            defend(run.model, models.classifiers[name].model),
            long,
        )
        for loss, run in models.autoencoders.items()
        for name, table in study.tables.items()
    ]
    rows = []
    seconds = {f"training {r.name}": r.record["training_seconds"] for r in models.all() if r.record}
    for row, model, classifier, table, defence, long_examples in wanted:
        title = f"{row}_{classifier}"
        found = measure(
            title,
            defence,
            images,
            labels,
            threat=threat,
            test=test,
            precision=FLAGS.crafting,
            cache=setting.workdir / "measured",
            strategy=setting.strategy,
            long_examples=long_examples,
        )
        seconds[f"measuring {title}"] = found["seconds"]
        for accuracy in found["accuracies"]:
            column = accuracy["attack"] + str(accuracy["steps"] or "")
            where = {"table": table.key, "row": row, "model": model, "classifier": classifier}
            paper = paper_accuracy(table.cells, row, column)
            rows.append({**where, **accuracy, "paper": paper})
    return rows, seconds


def _save(setting: Setting, study: Study, models: Models, result: dict) -> list[str]:
    """Save what was trained here into the run's own zoo; its folders, as the user is told them."""
    root = setting.workdir / "zoo"
    trained = [run for run in models.all() if run.record]
    autoencoders = [run.name for run in models.autoencoders.values()]
    for run in trained:
        source = models.classifiers[study.source] if run.name in autoencoders else None
        command = result["command"]
        # Once the zoo has a natural classifier, only this flag trains it again.
        if run.name in models.classifiers and not FLAGS.train_classifiers:
            command += " --train_classifiers"
        save(run, artefact_card(run, source, result | {"command": command}), root, source)
    return [f"zoo/{run.name}" for run in trained]


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
