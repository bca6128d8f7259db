"""Adversarially trained autoencoders (AAA): train, attack, compare with the paper.

    python -m experiments.aaa --dataset=mnist                         # one autoencoder, ce_mse
    python -m experiments.aaa --dataset=mnist --loss=ce,mse,ce_mse --baseline   # whole tables

The run's folder holds result.json (everything measured), training.png, reconstructions.png, a
folder with checkpoints and curves for each model trained, and zoo/, the trained models as
SavedModels with their cards. A run that was broken off goes on where it was.

Paper: AAA Tables 1 to 3 (MNIST).
"""

import sys
from dataclasses import dataclass, field

from absl import app, flags

import zoo
from experiments.cards import artefact_card
from experiments.common_flags import define_recipe_flags, define_run_flags, overridden, run_setting
from experiments.console import command_line, friendly
from experiments.estimate import announce
from experiments.measure import measure
from experiments.paper import paper_accuracy
from experiments.pictures import draw_reconstructions
from experiments.recipes import recipe_for
from experiments.runs import Setting, Trained, train_in_folder
from experiments.studies import Architecture, Study, study_for
from experiments.tables import print_tables
from keras_aaa import data
from keras_aaa.evaluation import PgdTest
from keras_aaa.figures import training_curves
from keras_aaa.models import build, defend
from keras_aaa.models.precision import POLICIES
from keras_aaa.names import lookup
from keras_aaa.results import provenance, write_json
from keras_aaa.threat_model import ThreatModel, threat_for
from keras_aaa.training import LOSSES, Loss, Recipe

FLAGS = flags.FLAGS

define_run_flags()
define_recipe_flags()
flags.DEFINE_list("loss", ["ce_mse"], f"Losses to train an autoencoder with: {', '.join(LOSSES)}.")
flags.DEFINE_integer("latent", None, "Size of the latent vector, where there is one.", 1, 65536)
flags.DEFINE_enum("crafting", "float32", list(POLICIES), "Precision that test attacks craft in.")
flags.DEFINE_bool("baseline", False, "Also train the adversarial-training baseline.")
flags.DEFINE_bool("train_classifiers", False, "Train the natural classifiers, zoo or not.")


@dataclass
class Models:
    """The models of one run: by table row, and those behind which an autoencoder is put."""

    classifiers: dict[str, Trained]
    autoencoders: dict[str, Trained] = field(default_factory=dict)  # by loss
    baseline: Trained | None = None

    def all(self) -> list[Trained]:
        """Every model, in the order of the tables."""
        baseline = [self.baseline] if self.baseline else []
        return [*self.classifiers.values(), *baseline, *self.autoencoders.values()]


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    autoencoder = _with_latent(study.autoencoder)
    recipes = {
        job: overridden(recipe_for(FLAGS.dataset, job, FLAGS.recipe))
        for job in ("natural", "adversarial", "aaa")
    }
    losses = {name: lookup("loss", name, LOSSES) for name in FLAGS.loss}
    if "ce_mse" in losses:
        losses["ce_mse"] = Loss(1.0, recipes["aaa"].mse_weight)
    setting = run_setting()
    test = PgdTest(study.test_steps, study.test_step_size)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir),
        FLAGS.eval_examples or spec.examples["test"],
    )

    models = Models(_classifiers(setting, study, recipes["natural"]))
    announce(
        setting,
        defend(
            build(autoencoder.name, **autoencoder.sizes, input_shape=spec.shape),
            models.classifiers[study.source].model,
        ),
        threat,
        [recipes["aaa"]] * len(losses) + [recipes["adversarial"]] * FLAGS.baseline,
        attacked_examples=len(labels) * (1 + len(study.targets)) * len(losses),
        test_steps=test.steps[-1],
    )
    _train(setting, study, models, autoencoder, losses, recipes, threat)
    measurements, seconds = _measure(setting, study, models, images, labels, threat, test)
    result = {
        "command": command_line("experiments.aaa"),
        "dataset": FLAGS.dataset,
        "recipe": FLAGS.recipe,
        "threat": {"norm": threat.norm, "eps": threat.eps},
        "test": {"steps": list(test.steps), "step_size": test.step_size, "seed": test.seed},
        "precision": {
            "training": setting.precision,
            "crafting": FLAGS.crafting,
            "scoring": "float32",
        },
        "models": {run.name: run.record or {"origin": "zoo"} for run in models.all()},
        "measurements": measurements,
        "seconds": seconds,
        "provenance": provenance(),
    }
    write_json(setting.workdir / "result.json", result)
    _save(setting, study, models, result)
    trained = [run for run in models.all() if run.record]
    training_curves(
        {run.name: run.record["history"] for run in trained}, setting.workdir / "training.png"
    )
    draw_reconstructions(
        {loss: run.model for loss, run in models.autoencoders.items()},
        models.classifiers[study.source].model,
        images,
        labels,
        threat=threat,
        test=test,
        path=setting.workdir / "reconstructions.png",
    )
    print_tables(result)
    print(f"Models, result.json, training.png and reconstructions.png are in {setting.workdir}.")


def _classifiers(setting: Setting, study: Study, recipe: Recipe) -> dict[str, Trained]:
    found = {}
    for name, architecture in study.classifiers.items():
        if name in zoo.list_models() and not FLAGS.train_classifiers:
            print(f"{name}: taken from the zoo (--train_classifiers trains it afresh).")
            built = zoo.info(name).model
            architecture = Architecture(built.architecture, built.sizes)
            found[name] = Trained(name, zoo.load(name), architecture, record=None)
        else:
            found[name] = train_in_folder(setting, name, architecture, recipe)
    return found


def _train(
    setting: Setting,
    study: Study,
    models: Models,
    autoencoder: Architecture,
    losses: dict[str, Loss],
    recipes: dict[str, Recipe],
    threat: ThreatModel,
) -> None:
    for name, loss in losses.items():
        models.autoencoders[name] = train_in_folder(
            setting,
            f"aaa_{setting.dataset}_{name}",
            autoencoder,
            recipes["aaa"],
            loss=loss,
            threat=threat,
            classifiers=(models.classifiers[study.source],),
        )
    if FLAGS.baseline:
        models.baseline = train_in_folder(
            setting,
            f"{study.source}_pgd",
            study.classifiers[study.source],
            recipes["adversarial"],
            threat=threat,
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
    # (row of the paper's table, model that the row is about, classifier, its table, defence)
    plan = [
        ("natural", name, name, study.tables[name], run.model)
        for name, run in models.classifiers.items()
    ]
    if models.baseline:
        name, table = models.baseline.name, study.tables[study.source]
        plan.append(("adversarial_training", name, name, table, models.baseline.model))
    plan += [
        (f"aaa_{loss}", run.name, name, study.tables[name], defend(run.model, classifier.model))
        for loss, run in models.autoencoders.items()
        for name, classifier in models.classifiers.items()
    ]
    rows = []
    seconds = {f"training {r.name}": r.record["training_seconds"] for r in models.all() if r.record}
    for row, model, classifier, table, defence in plan:
        title = f"{row}_{classifier}"
        measured = measure(
            title,
            defence,
            images,
            labels,
            threat=threat,
            test=test,
            precision=FLAGS.crafting,
            cache=setting.workdir / "measured",
        )
        seconds[f"measuring {title}"] = measured["seconds"]
        for accuracy in measured["accuracies"]:
            column = accuracy["attack"] + str(accuracy["steps"] or "")
            where = {"table": table, "row": row, "model": model, "classifier": classifier}
            rows.append({**where, **accuracy, "paper": paper_accuracy(table, row, column)})
    return rows, seconds


def _save(setting: Setting, study: Study, models: Models, result: dict) -> None:
    root = setting.workdir / "zoo"
    autoencoders = [run.name for run in models.autoencoders.values()]
    for run in models.all():
        if run.record and not (root / run.name).exists():
            source = models.classifiers[study.source] if run.name in autoencoders else None
            card = artefact_card(run, source, result)
            zoo.save(run.model, run.name, card, root, classifier=source and source.model)


def _with_latent(autoencoder: Architecture) -> Architecture:
    if FLAGS.latent is None:
        return autoencoder
    if "latent" not in autoencoder.sizes:
        raise ValueError(f"--latent: the autoencoder of {FLAGS.dataset} has no latent vector.")
    return Architecture(autoencoder.name, {**autoencoder.sizes, "latent": FLAGS.latent})


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
