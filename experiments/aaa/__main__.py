"""Adversarially trained autoencoders (AAA): train, attack, compare with the paper.

    python -m experiments.aaa --dataset=mnist                         # one autoencoder, ce_mse
    python -m experiments.aaa --dataset=mnist --loss=ce,mse,ce_mse --baseline   # whole tables
    python -m experiments.aaa --loss=ce,mse,ce_mse --baseline --from_zoo   # the same, no training
    python -m experiments.aaa --dataset=cifar10 --ensemble      # with all classifiers, one per step
    python -m experiments.aaa --classifiers=mnist_mixer --from_zoo   # it is not in the paper

The run's folder holds result.json with all measurements, and a folder with checkpoints and curves
for each trained model. zoo/ holds the trained models as SavedModels with their cards. There are
pictures of adversarial training, and of reconstructions if the run has autoencoders. An interrupted
run resumes. The recipes "paper" and "long" use VGG-19 at full width; the others use a quarter of
it.

Paper: AAA Tables 1 to 8.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import keras
from absl import app, flags

from experiments.aaa import flags as aaa_flags
from experiments.aaa.models import (
    RunModels,
    add_robust,
    adversarial_history,
    attacked,
    check_plan,
    classifiers,
    measured,
    origin,
)
from experiments.aaa.studies import AaaStudy, study_for
from experiments.cards import artefact_card, card_measurements, publish, save
from experiments.command import friendly, print_tables, record
from experiments.common_flags import run_setting, test_examples
from experiments.estimate import announce
from experiments.measure import measure, parts
from experiments.paper import paper_accuracy
from experiments.recipes import FULL_SIZE
from experiments.tables import tables
from experiments.train_run import RunContext
from keras_aaa import data
from keras_aaa.attacks import pgd
from keras_aaa.evaluation import PgdTest
from keras_aaa.figures import image_grid, training_curves
from keras_aaa.models import defend
from keras_aaa.results import write_json
from keras_aaa.threat_model import ThreatModel, threat_for

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(aaa_flags)  # so that --help lists them
PICTURED = 8  # examples, the first ones


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    study = study if FLAGS.recipe in FULL_SIZE else study.reduced()
    study = study.only(FLAGS.classifiers or list(study.classifiers))
    plan, setting = aaa_flags.plan(study), run_setting()
    test = PgdTest(study.test_steps, study.test_step_size)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    check_plan(plan, FLAGS.dataset, spec.shape)
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir),
        test_examples(spec.examples["test"]),
    )

    models = classifiers(setting, study, plan)
    if setting.job:
        add_robust(setting, study, models, plan, threat)
        setting.job.write()
        print(f"On a machine with JAX, run: python {setting.job.folder}/run.py --seconds=600")
        return
    autoencoder = plan.autoencoder.build(input_shape=spec.shape)
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
    histories = {run.name: past for run in models.all() if (past := adversarial_history(run))}
    if histories:
        training_curves(histories, setting.workdir / "training.png")
        written.append("training.png")
    if models.autoencoders:
        _draw_reconstructions(
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


def _measure(
    setting: RunContext,
    study: AaaStudy,
    models: RunModels,
    images,
    labels,
    threat: ThreatModel,
    test: PgdTest,
) -> tuple[list[dict], dict[str, float]]:
    long = FLAGS.long_examples
    # (row of the paper's table, model of the row, classifier, its table, defence, long_examples).
    # long_examples is 0 for natural classifiers: nearly all their examples are misclassified after
    # few steps and skipped, so all examples cost next to nothing.
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
        result = measure(
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
        seconds[f"measuring {title}"] = result["seconds"]
        for accuracy in result["accuracies"]:
            column = accuracy["attack"] + str(accuracy["steps"] or "")
            place = {"table": table.key, "row": row, "model": model, "classifier": classifier}
            paper = paper_accuracy(table.cells, row, column)
            rows.append({**place, **accuracy, "paper": paper})
    return rows, seconds


def _save(setting: RunContext, study: AaaStudy, models: RunModels, result: dict) -> list[str]:
    """Save the models trained here into the run's own zoo; return their folders for printing."""
    root = setting.workdir / "zoo"
    trained = [run for run in models.all() if run.record]
    autoencoders = [run.name for run in models.autoencoders.values()]
    for run in trained:
        source = models.classifiers[study.source] if run.name in autoencoders else None
        command = result["command"]
        # If the zoo has a natural classifier, only this flag trains it again.
        if run.name in models.classifiers and not FLAGS.train_classifiers:
            command += " --train_classifiers"
        save(run, artefact_card(run, source, result | {"command": command}), root, source)
    return [f"zoo/{run.name}" for run in trained]


def _draw_reconstructions(
    autoencoders: Mapping[str, keras.Model],
    source: keras.Model,
    images,
    labels,
    *,
    threat: ThreatModel,
    test: PgdTest,
    path: Path,
) -> None:
    """Draw a row per example, with the adversarial image and its reconstruction for each loss.

    Each adversarial image is crafted end-to-end against that loss's own defence.
    Paper: AAA Table 3.

    Args:
        autoencoders: loss -> autoencoder.
        source: the source classifier behind them.
        images, labels: test examples; the first PICTURED are drawn.
        threat, test: the attack, with the first number of steps of `test`.
        path: the PNG to write.
    """
    x, y = images[:PICTURED], labels[:PICTURED]
    columns = {"clean x": x}
    for loss, autoencoder in autoencoders.items():
        x_adv = pgd(
            defend(autoencoder, source),
            x,
            y,
            threat=threat,
            steps=test.steps[0],
            step_size=test.step_size,
            seed=test.seed,
        )
        columns[f"x' for {loss}"] = x_adv
        columns[f"A(x'), {loss}"] = autoencoder(x_adv, training=False)
    image_grid({title: column.numpy() for title, column in columns.items()}, path)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
