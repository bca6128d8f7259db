"""Compare training attacks (PGD, RS-FGSM, N-FGSM): which one gives the most robust network?

    python -m experiments.schedules --dataset=cifar10         # the compute of two epochs of PGD
    python -m experiments.schedules --dataset=cifar10 --epochs=4 --only=pgd,n_fgsm

A schedule here is a training attack and its epochs; learning-rate schedules are not compared. The
study's source classifier is trained under each attack. Each training gets as many gradients as
--epochs epochs of the paper's attack take. Accuracies are measured on the validation split, so that
they may guide the choice of an attack. An interrupted run resumes.

RS-FGSM is FGSM from a random point (Wong et al. 2020). N-FGSM starts from noise larger than eps and
does not clip to eps (de Jorge et al. 2022). Both take a single step.
"""

import dataclasses
import sys

from absl import app, flags

from experiments import common_flags
from experiments.aaa.studies import AaaStudy, study_for
from experiments.command import friendly, print_tables, record
from experiments.common_flags import (
    check_used,
    define_recipe_flags,
    define_run_flags,
    overridden,
    run_setting,
)
from experiments.estimate import announce, gradients
from experiments.measure import measure
from experiments.recipes import recipe_for
from experiments.tables import schedule_tables
from experiments.train_run import RunContext, train_in_folder
from keras_aaa import data
from keras_aaa.checks import lookup
from keras_aaa.evaluation import PgdTest
from keras_aaa.results import write_json
from keras_aaa.threat_model import ThreatModel, threat_for
from keras_aaa.training import Recipe
from keras_aaa.training.recipe import ATTACK_FIELDS
from keras_aaa.training.trainer import TrainingError

FLAGS = flags.FLAGS
define_run_flags("cifar10", measured="validation")
define_recipe_flags(without=(*ATTACK_FIELDS, "epochs"))
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_integer("epochs", 2, "Epochs of the paper's attack; others get equal compute.", 1)
flags.DEFINE_list(
    "only", [], "Any of pgd, two_steps, rs_fgsm, n_fgsm, n_fgsm_then_pgd; all by default."
)


def attacks(threat: ThreatModel, paper: Recipe) -> dict[str, dict]:
    """Return the training attacks that are compared: name -> fields of a recipe.

    Args:
        threat: the threat model; step sizes are multiples of its radius.
        paper: the paper's recipe, whose attack is "pgd".
    """
    eps = threat.eps
    pgd = {"attack_steps": paper.attack_steps, "attack_step_size": paper.attack_step_size}
    late = {f"late_{name}": value for name, value in pgd.items()}
    n_fgsm = {
        "attack_steps": 1,
        "attack_step_size": eps,
        "start_noise": 2.0,
        "attack_ball": 3.0,
    }
    return {
        "pgd": pgd,
        "two_steps": {"attack_steps": 2, "attack_step_size": 0.6 * eps},
        "rs_fgsm": {"attack_steps": 1, "attack_step_size": 1.25 * eps},
        "n_fgsm": n_fgsm,
        "n_fgsm_then_pgd": n_fgsm | {"late_from": 0.8} | late,
    }


def for_the_same_work(base: Recipe, attack: dict, budget: float, size: int) -> Recipe:
    """Return the recipe with that attack and as many epochs as `budget` allows, at least one.

    Args:
        base: the recipe, except attack and epochs.
        attack: fields of a recipe.
        budget: number of image gradients, as `experiments.estimate.gradients` counts them.
        size: examples of the training split.
    """
    plain = {field.name: field.default for field in dataclasses.fields(Recipe)}
    cleared = {name: plain[name] for name in ATTACK_FIELDS if name.startswith(("attack", "late"))}
    recipe = dataclasses.replace(base, **{**cleared, "start_noise": 1.0, **attack}, epochs=10)
    # Count the gradients of ten epochs, so that the late attack covers whole epochs.
    return dataclasses.replace(recipe, epochs=max(1, round(10 * budget / gradients(recipe, size))))


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    study = study if FLAGS.recipe == "paper" else study.reduced()
    known = attacks(threat, recipe_for(FLAGS.dataset, "adversarial", "paper"))
    chosen = {name: lookup("training attack", name, known) for name in FLAGS.only or known}
    setting, spec = run_setting("schedules"), data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    base, size = overridden(recipe_for(FLAGS.dataset, "adversarial", FLAGS.recipe)), spec.examples
    check_used([base])
    costliest = dataclasses.replace(base, **known["pgd"], late_from=1.0, epochs=FLAGS.epochs)
    budget = gradients(costliest, size["train"])
    recipes = {
        name: for_the_same_work(base, attack, budget, size["train"])
        for name, attack in chosen.items()
    }
    config = study.classifiers[study.source]
    model = config.build(input_shape=spec.shape, classes=spec.classes)
    count = common_flags.test_examples(size["validation"])
    announce(
        setting,
        threat,
        [(model, list(recipes.values()))],
        [(model, study.test_steps[0] * count * len(recipes))],
        setting.precision,
    )
    rows = [_row(setting, study, threat, name, recipes[name], count) for name in recipes]
    if not setting.chief:
        return
    result = record(
        "experiments.schedules",
        dataset=FLAGS.dataset,
        threat=threat,
        training=setting.precision,
        crafting=setting.precision,
    ) | {
        "recipe": FLAGS.recipe,
        "model": study.source,
        "examples": count,
        "schedules": rows,
    }
    write_json(setting.workdir / "result.json", result)
    print_tables(schedule_tables(result))
    print(f"result.json and the models' folders are in {setting.workdir}.")


def _row(
    setting: RunContext, study: AaaStudy, threat: ThreatModel, name: str, recipe: Recipe, count: int
) -> dict:
    """Train under one attack and measure; if training collapses, record the error instead."""
    row = {"attack": name, "recipe": dataclasses.asdict(recipe)}
    try:
        run = train_in_folder(setting, name, study.classifiers[study.source], recipe, threat=threat)
    except TrainingError as error:
        return row | {"collapsed": str(error)}
    validation = data.load(setting.dataset, "validation", setting.data_dir)
    measured = measure(
        name,
        run.model,
        *data.first(validation, count),
        threat=threat,
        test=PgdTest(study.test_steps[:1], study.test_step_size),
        precision=setting.precision,
        cache=setting.workdir / "measured",
        strategy=setting.strategy,
    )
    return row | {
        "seconds": run.record["training_seconds"],
        "history": run.record["history"],
        "accuracies": measured["accuracies"],
    }


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
