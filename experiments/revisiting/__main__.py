"""Repeat the study "Revisiting Role of Autoencoders in Adversarial Settings": tables and figures.

    python -m experiments.revisiting --dataset=mnist                # all of it
    python -m experiments.revisiting --dataset=mnist --only=table3a,table3b
    python -m experiments.revisiting --dataset=cifar10              # with smaller networks
    python -m experiments.revisiting --dataset=cifar10 --recipe=paper

A model is trained when a table or a figure first needs it, one of each kind for each seed. The
substitute for a black-box attack is the model of the next seed. The run's folder holds result.json
(with --only, a file named after its parts: table3a_table3b.json), fig2.png, fig4.png and a folder
for each model. If a table was made, zoo/ holds the models of the first seed that are for users. An
interrupted run resumes.

Paper: Revisiting, Tables 1 to 4, Figures 2 and 4.
"""

import dataclasses
import statistics
import sys
from pathlib import Path

from absl import app, flags

from experiments import common_flags
from experiments.cards import artefact_card, save
from experiments.command import friendly, print_tables, record
from experiments.common_flags import (
    check_used,
    define_recipe_flags,
    define_run_flags,
    overridden,
    run_setting,
    test_examples,
)
from experiments.recipes import recipe_for
from experiments.revisiting.measured import forget_images, parameters
from experiments.revisiting.models import SeededModels
from experiments.revisiting.results import (
    Run,
    figure_lines,
    gradient_cells,
    masking_signs,
    table_cells,
)
from experiments.revisiting.roles import ROLES
from experiments.revisiting.study import Attack, RevisitingStudy, study_for
from experiments.revisiting.tables import tables
from experiments.train_run import Trained
from keras_aaa import data
from keras_aaa.checks import lookup
from keras_aaa.fast.precision import POLICIES
from keras_aaa.figures import line_chart
from keras_aaa.models import ModelConfig, build
from keras_aaa.models.autoencoders import classifying_half
from keras_aaa.results import write_json
from keras_aaa.threat_model import ThreatModel, threat_for

FLAGS = flags.FLAGS
define_run_flags()
# The roles define their losses, and --seeds defines the seeds.
define_recipe_flags(without=("seed",))
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_list(
    "only",
    [],
    "Any of table1, table2a, table2b, table3a, table3b, table4, fig2, fig4, sanity; default: all.",
)
flags.DEFINE_integer("seeds", 3, "Number of models of each kind.", 1, 100)
flags.DEFINE_integer("costly_examples", 500, "Examples for CW, DeepFool and AutoAttack.", 1)
flags.DEFINE_integer("figure_examples", 1000, "Examples for the figures' sweeps of eps.", 1)
flags.DEFINE_enum("crafting", "float32", list(POLICIES), "Precision of crafting.")
flags.DEFINE_integer(
    "card_examples", 0, "Examples for the cards of zoo models; 0 takes --eval_examples.", 0
)
flags.DEFINE_bool(
    "from_zoo", False, "Take the first seed's models from the zoo, trained by their own recipes."
)

# role of a zoo model -> the defence that its card measures
ZOO_DEFENCES = {"classifier": "C", "autoencoder": "AE-C", "lambda_1": "lambda 1"}
NO_DEFENCE = ("Not adversarially trained: no defence. PGD overstates what robustness there is.",)
PLAIN = ("A plain classifier, trained without attacks: no defence.",)
CAVEATS = {"classifier": PLAIN, "autoencoder": NO_DEFENCE, "lambda_1": NO_DEFENCE}


def main(argv):
    study = study_for(FLAGS.dataset)
    study = study if FLAGS.recipe == "paper" else study.reduced()
    makers = {**study.tables, "table4": None, **study.figures, "sanity": None}
    wanted = FLAGS.only or list(makers)
    for name in wanted:
        lookup(f"table or figure on {FLAGS.dataset}", name, makers)
    _check_seeds(study, wanted)
    setting, threat = run_setting("revisiting"), threat_for(FLAGS.dataset)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    count = test_examples(spec.examples["test"])
    for_cards = (
        test_examples(spec.examples["test"], "card_examples") if FLAGS.card_examples else count
    )
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir), max(count, for_cards)
    )
    recipes = {
        training: overridden(recipe_for(FLAGS.dataset, training, FLAGS.recipe))
        for training in {role.training for role in ROLES.values()}
    }
    check_used(recipes.values())
    models = SeededModels(setting, study, recipes, threat, FLAGS.from_zoo)
    run = Run(
        models,
        images.numpy(),
        labels.numpy(),
        count,
        _at_most(count, "costly_examples"),
        _at_most(count, "figure_examples"),
        setting.workdir / "measured",
        FLAGS.seeds,
        FLAGS.crafting,
    )
    cells, figures = [], {}
    for name in wanted:
        print(f"{name} ...", flush=True)
        if name in study.tables:
            cells += table_cells(run, study, study.tables[name])
        elif name == "table4":
            cells += gradient_cells(run, study)
        elif name in study.figures:
            figures[name] = figure_lines(run, study, study.figures[name])
            _draw(figures[name], setting.workdir / f"{name}.png")
    if not setting.chief:
        return
    for_zoo = any(name in study.tables for name in wanted)
    result = record(
        "experiments.revisiting",
        dataset=FLAGS.dataset,
        threat=ThreatModel("linf", study.sanity / 255),
        training=setting.precision,
        crafting=FLAGS.crafting,
    ) | {
        "recipe": FLAGS.recipe,
        "revisiting": cells,
        "figures": figures,
        "sanity": masking_signs(run, study) if "sanity" in wanted else {},
        "zoo": _of_zoo_models(run, study, for_cards) if for_zoo else [],
    }
    name = "_".join(FLAGS.only) or "result"
    write_json(setting.workdir / f"{name}.json", result)
    if for_zoo:
        _save(run, study, result)
    forget_images(run.folder)
    print_tables(tables(result))
    print(f"{name}.json, figures and models are in {setting.workdir}.")


def _at_most(count: int, flag: str) -> int:
    """Return the flag's value; only a default value is lowered to --eval_examples."""
    if FLAGS[flag].present and FLAGS[flag].value > count:
        raise ValueError(
            f"--{flag}: expected at most the {count} of --eval_examples; got {FLAGS[flag].value}."
        )
    return min(FLAGS[flag].value, count)


def _check_seeds(study: RevisitingStudy, wanted: list[str]) -> None:
    """Refuse one seed if a black-box attack needs a substitute from another seed."""
    apart = [name for name in wanted if name in study.tables and study.tables[name].apart]
    apart += [name for name in wanted if name in study.figures]
    if FLAGS.seeds < 2 and apart:
        raise ValueError(
            f"--seeds: expected 2 or more for {', '.join(apart)}, which take substitutes from the "
            f"next seed; got {FLAGS.seeds}."
        )


def _draw(figure: dict, path: Path) -> None:
    means = {
        panel: {
            name: (figure["sweep"], [statistics.mean(seeds) for seeds in points])
            for name, points in lines.items()
        }
        for panel, lines in figure["panels"].items()
    }
    line_chart(means, "eps, 0 to 255", f"accuracy, n = {figure['examples']:,}", path)


def _of_zoo_models(run: Run, study: RevisitingStudy, examples: int) -> list[dict]:
    """Return the measurements on the cards of the first seed's models for users."""
    rows = []
    for role, name in study.zoo.items():
        if not run.models.was_asked_for(role, 0):
            continue
        defence = run.models.defence(ZOO_DEFENCES[role], 0)
        classifier = study.zoo["classifier"] if role == "autoencoder" else name
        for attack in (Attack("clean"), Attack("pgd", study.sanity)):
            counts = run.measured(attack, defence, defence, examples)
            settings = {"steps": None, "step_size": None} | parameters(attack)
            place = {"model": name, "classifier": classifier}
            rows.append({**place, "attack": attack.name, **settings, **counts, "paper": None})
    return rows


def _save(run: Run, study: RevisitingStudy, result: dict) -> None:
    """Save the first seed's models for users, with their measurements."""
    root = run.folder.parent / "zoo"
    for role, name in study.zoo.items():
        if not run.models.was_trained(role, 0):
            continue
        trained = dataclasses.replace(_as_classifier(run.models.trained(role, 0)), name=name)
        before = None
        if role == "autoencoder":
            source = run.models.trained("classifier", 0)
            before = dataclasses.replace(source, name=study.zoo["classifier"])
        card = artefact_card(
            trained, before, result | {"measurements": result["zoo"]}, CAVEATS[role]
        )
        save(trained, card, root, before)


def _as_classifier(trained: Trained) -> Trained:
    """Return a joint network's classifier, which is the part that users need."""
    if len(trained.model.outputs) == 1:
        return trained
    sizes = trained.config.sizes
    model = build("latent_classifier", **sizes)
    model.set_weights(classifying_half(trained.model).get_weights())
    config = ModelConfig("latent_classifier", sizes)
    return dataclasses.replace(trained, model=model, config=config)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
