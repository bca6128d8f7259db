"""The study "Revisiting Role of Autoencoders in Adversarial Settings", its tables and figures.

    python -m experiments.revisiting --dataset=mnist                # all of it
    python -m experiments.revisiting --dataset=mnist --only=table3a,table3b
    python -m experiments.revisiting --dataset=cifar10              # with smaller networks
    python -m experiments.revisiting --dataset=cifar10 --recipe=paper

Models are trained when a table or figure first asks for them, one of each kind for each seed. A
substitute for a black-box attack is the next seed's. The run's folder holds result.json, fig2.png,
fig4.png, a folder for each model, and, if a table was asked for, zoo/: the first seed's models that
a user could want.
A run that was broken off goes on where it was.

Paper: Revisiting, Tables 1 to 4, Figures 2 and 4.
"""

import dataclasses
import statistics
import sys
from pathlib import Path

import numpy as np
from absl import app, flags

import zoo
from experiments import common_flags
from experiments.cards import artefact_card
from experiments.common_flags import (
    define_recipe_flags,
    define_run_flags,
    overridden,
    run_setting,
    test_examples,
)
from experiments.console import command_line, friendly, print_tables
from experiments.paper import revisiting_value
from experiments.recipes import recipe_for
from experiments.revisiting.measured import (
    forget_images,
    gradient_amplitude,
    measured,
    parameters,
)
from experiments.revisiting.models import Models
from experiments.revisiting.roles import ROLES
from experiments.revisiting.study import PGD_STEPS, Attack, Figure, Study, Table, study_for
from experiments.revisiting.tables import tables
from experiments.runs import Trained
from experiments.studies import Architecture
from keras_aaa import data
from keras_aaa.evaluation.sanity import Subject, report
from keras_aaa.figures import line_chart
from keras_aaa.models import build
from keras_aaa.models.joint import classifying_half
from keras_aaa.models.precision import POLICIES
from keras_aaa.names import lookup
from keras_aaa.results import provenance, write_json
from keras_aaa.threat_model import ThreatModel, threat_for

FLAGS = flags.FLAGS
define_run_flags()
define_recipe_flags()
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_list(
    "only",
    [],
    "Of table1, table2a, table2b, table3a, table3b, table4, fig2, fig4, sanity; else all.",
)
flags.DEFINE_integer("seeds", 3, "How many of each model are trained.", 1, 100)
flags.DEFINE_integer("costly_examples", 500, "Those for CW, DeepFool and AutoAttack.", 1)
flags.DEFINE_integer("figure_examples", 1000, "Those for the figures' sweeps of eps.", 1)
flags.DEFINE_enum("crafting", "float32", list(POLICIES), "Precision that attacks craft in.")
flags.DEFINE_integer(
    "card_examples", 0, "Those for the cards of the zoo's models; 0 takes --eval_examples.", 0
)
flags.DEFINE_bool("from_zoo", False, "Take the first seed's models from the zoo where it has them.")

SANITY_EXAMPLES = 200
# The defence by which a model of the zoo is measured.
ZOO_DEFENCES = {"classifier": "C", "autoencoder": "AE-C", "gamma_2": "gamma 2"}
NO_DEFENCE = (
    "Not adversarially trained: it resists small perturbations better than a plain classifier, and "
    "is no defence. PGD overstates what robustness there is.",
)
PLAIN = ("A plain classifier, trained without attacks: no defence.",)
CAVEATS = {"classifier": PLAIN, "autoencoder": NO_DEFENCE, "gamma_2": NO_DEFENCE}


@dataclasses.dataclass(frozen=True)
class Run:
    """What tables and figures are made from."""

    models: Models
    images: np.ndarray
    labels: np.ndarray
    examples: int  # those for the tables, the first ones
    folder: Path
    seeds: int
    crafting: str

    def measured(self, attack: Attack, target, crafted_on, n: int) -> dict:
        """Return what was measured of the first n test examples."""
        examples = self.images[:n], self.labels[:n]
        return measured(attack, target, crafted_on, *examples, self.folder, self.crafting)

    def values(self, attack: Attack, target: str, crafted_on: str, apart: bool, n: int) -> list:
        """Return what was measured for each seed, of the first n test examples."""
        found = []
        for seed in range(self.seeds):
            other = (seed + 1) % self.seeds if apart else seed
            pair = self.models.defence(target, seed), self.models.defence(crafted_on, other)
            found.append(self.measured(attack, *pair, n))
        return found


def main(argv):
    study = study_for(FLAGS.dataset)
    study = study if FLAGS.recipe == "paper" else study.reduced()
    makers = {**study.tables, "table4": None, **study.figures, "sanity": None}
    wanted = FLAGS.only or list(makers)
    for name in wanted:
        lookup("table or figure", name, makers)
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
        job: overridden(recipe_for(FLAGS.dataset, job, FLAGS.recipe))
        for job in {role.job for role in ROLES.values()}
    }
    models = Models(setting, study, recipes, threat, FLAGS.from_zoo)
    run = Run(
        models,
        images.numpy(),
        labels.numpy(),
        count,
        setting.workdir / "measured",
        FLAGS.seeds,
        FLAGS.crafting,
    )
    cells, figures = [], {}
    for name in wanted:
        print(f"{name} ...", flush=True)
        if name in study.tables:
            cells += _table(run, study, study.tables[name])
        elif name == "table4":
            cells += _gradients(run, study)
        elif name in study.figures:
            figures[name] = _figure(run, study, study.figures[name], setting.workdir / name)
    if not setting.chief:
        return
    for_zoo = any(name in study.tables for name in wanted)
    result = {
        "command": command_line("experiments.revisiting"),
        "dataset": FLAGS.dataset,
        "recipe": FLAGS.recipe,
        "threat": {"norm": "linf", "eps": study.sanity / 255},
        "precision": {
            "training": setting.precision,
            "crafting": FLAGS.crafting,
            "scoring": "float32",
        },
        "revisiting": cells,
        "figures": figures,
        "sanity": _sanity(run, study) if "sanity" in wanted else {},
        "zoo": _of_zoo_models(run, study, for_cards) if for_zoo else [],
        "provenance": provenance(),
    }
    write_json(setting.workdir / "result.json", result)
    if for_zoo:
        _save(run, study, result)
    forget_images(run.folder)
    print_tables(tables(result))
    print(f"result.json, figures and models are in {setting.workdir}.")


def _check_seeds(study: Study, wanted: list[str]) -> None:
    """Refuse one seed where a black-box attack wants a substitute that was trained apart."""
    apart = [name for name in wanted if name in study.tables and study.tables[name].apart]
    apart += [name for name in wanted if name in study.figures]
    if FLAGS.seeds < 2 and apart:
        raise ValueError(f"--seeds: expected 2 or more for {', '.join(apart)}, got {FLAGS.seeds}.")


def _table(run: Run, study: Study, table: Table) -> list[dict]:
    title, cells = f"{study.title}, {table.title}", []
    for attack, row in table.attacks.items():
        n = min(FLAGS.costly_examples, run.examples) if attack.costly else run.examples
        for target, crafted_on in table.columns.items():
            found = run.values(attack, target, crafted_on, table.apart, n)
            paper = revisiting_value(table.paper, row, table.paper_columns[target])
            cells.append(
                _cell(title, attack.title, target, [m["accuracy"] for m in found], n)
                | {"paper": None if paper is None else paper / 100, "measured": found}
            )
    return cells


def _cell(table: str, row: str, column: str, values: list[float], n: int) -> dict:
    where = {"table": table, "row": row, "column": column}
    return {**where, "values": values, "unit": "fraction", "examples": n, "paper": None}


def _gradients(run: Run, study: Study) -> list[dict]:
    title = f"{study.title}, mean gradient amplitude (Revisiting Table 4)"
    images, cells = run.images[: run.examples], []
    for name, column in study.gradient.items():
        defences = [run.models.defence(name, seed) for seed in range(run.seeds)]
        values = [gradient_amplitude(d, images, run.folder)["value"] for d in defences]
        paper = revisiting_value("table4_gradient_amplitude", "G", column)
        cells.append(
            _cell(title, "G", name, values, len(images)) | {"paper": paper, "unit": "absolute"}
        )
    return cells


def _figure(run: Run, study: Study, figure: Figure, path: Path) -> dict:
    n = min(FLAGS.figure_examples, run.examples)
    panels, means = {}, {}
    for title, (attack, apart, lines) in figure.panels.items():
        panels[title], means[title] = {}, {}
        for target, crafted_on in lines.items():
            points = [
                [
                    m["accuracy"]
                    for m in run.values(Attack(attack, eps), target, crafted_on, apart, n)
                ]
                for eps in study.sweep
            ]
            panels[title][target] = points
            means[title][target] = study.sweep, [statistics.mean(seeds) for seeds in points]
    line_chart(means, "eps, 0 to 255", f"accuracy, n = {n:,}", path.with_suffix(".png"))
    return {
        "title": f"{study.title}, {figure.title}",
        "seeds": run.seeds,
        "examples": n,
        "sweep": study.sweep,
        "panels": panels,  # accuracies: panel -> line -> eps -> seed
    }


def _sanity(run: Run, study: Study) -> dict:
    """Signs of gradient masking, in the first seed's C and AE-C."""
    eps = study.sanity / 255
    n = min(SANITY_EXAMPLES, run.examples)
    images, labels = run.images[:n], run.labels[:n]
    alone = run.models.defence("C", 0)
    subject = Subject(
        alone,
        images,
        labels,
        ThreatModel("linf", eps),
        steps=PGD_STEPS,
        step_size=2.5 * eps / PGD_STEPS,
    )
    behind = dataclasses.replace(subject, defence=run.models.defence("AE-C", 0), base=alone)
    evidence = {
        name: [dataclasses.asdict(each) for each in report(of)]
        for name, of in (("C", subject), ("AE-C", behind))
    }
    return {"examples": len(labels), "evidence": evidence}


def _of_zoo_models(run: Run, study: Study, examples: int) -> list[dict]:
    """What the cards say of the first seed's models that are for users."""
    rows = []
    for role, name in study.zoo.items():
        if not run.models.was_asked_for(role, 0):
            continue
        defence = run.models.defence(ZOO_DEFENCES[role], 0)
        classifier = study.zoo["classifier"] if role == "autoencoder" else name
        for attack in (Attack("clean"), Attack("pgd", study.sanity)):
            found = run.measured(attack, defence, defence, examples)
            own = {"steps": None, "step_size": None} | parameters(attack)
            where = {"model": name, "classifier": classifier}
            rows.append({**where, "attack": attack.name, **own, **found, "paper": None})
    return rows


def _save(run: Run, study: Study, result: dict) -> None:
    """Save those of the first seed's models that are for users, with what is measured of them."""
    root = run.folder.parent / "zoo"
    for role, name in study.zoo.items():
        if not run.models.was_trained(role, 0) or (root / name).exists():
            continue
        trained = dataclasses.replace(_as_classifier(run.models.trained(role, 0)), name=name)
        before = None
        if role == "autoencoder":
            source = run.models.trained("classifier", 0)
            before = dataclasses.replace(source, name=study.zoo["classifier"])
        card = artefact_card(
            trained, before, result | {"measurements": result["zoo"]}, CAVEATS[role]
        )
        zoo.save(trained.model, name, card, root, classifier=before and before.model)


def _as_classifier(trained: Trained) -> Trained:
    """A joint network as the classifier that a user wants of it."""
    if len(trained.model.outputs) == 1:
        return trained
    sizes = trained.architecture.sizes
    model = build("latent_classifier", **sizes)
    model.set_weights(classifying_half(trained.model).get_weights())
    architecture = Architecture("latent_classifier", sizes)
    return dataclasses.replace(trained, model=model, architecture=architecture)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
