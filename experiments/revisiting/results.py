"""Compute the study's result: cells of tables, lines of figures, signs of gradient masking."""

import dataclasses
from pathlib import Path

import numpy as np

from experiments.paper import revisiting_value
from experiments.revisiting.measured import gradient_amplitude, measured, parameters, survivors
from experiments.revisiting.models import SeededModels
from experiments.revisiting.study import AccuracyTable, Attack, Figure, RevisitingStudy
from keras_aaa.evaluation.sanity import Subject, report
from keras_aaa.threat_model import ThreatModel

SANITY_EXAMPLES = 200


@dataclasses.dataclass(frozen=True)
class Run:
    """The models, examples and settings that tables and figures are made from."""

    models: SeededModels
    images: np.ndarray
    labels: np.ndarray
    examples: int  # number of examples for the tables, the first ones
    costly: int  # number of examples for costly attacks
    figure: int  # number of examples for a figure's sweep of eps
    folder: Path
    seeds: int
    crafting: str  # precision

    def measured(self, attack: Attack, target, crafted_on, n: int) -> dict:
        """Return a measurement on the first n test examples."""
        examples = self.images[:n], self.labels[:n]
        return measured(attack, target, crafted_on, *examples, self.folder, self.crafting)

    def values(self, attack: Attack, target: str, crafted_on: str, apart: bool, n: int) -> list:
        """Return a measurement for each seed, on the first n test examples."""
        found = []
        for seed in range(self.seeds):
            other = (seed + 1) % self.seeds if apart else seed
            pair = self.models.defence(target, seed), self.models.defence(crafted_on, other)
            found.append(self.measured(attack, *pair, n))
        return found


def table_cells(run: Run, study: RevisitingStudy, table: AccuracyTable) -> list[dict]:
    """Return a cell for each attack and defence of the table, with the paper's number."""
    title, cells = f"{study.title}, {table.title}", []
    for attack, row in table.attacks.items():
        n = run.costly if attack.costly else run.examples
        for target, crafted_on in table.columns.items():
            found = run.values(attack, target, crafted_on, table.apart, n)
            paper = revisiting_value(table.paper, row, table.paper_columns[target])
            cells.append(
                _cell(title, attack.title, target, [m["accuracy"] for m in found], n)
                | {"paper": None if paper is None else paper / 100, "measured": found}
            )
    return cells


def _cell(table: str, row: str, column: str, values: list[float], n: int) -> dict:
    place = {"table": table, "row": row, "column": column}
    return {**place, "values": values, "unit": "fraction", "examples": n, "paper": None}


def gradient_cells(run: Run, study: RevisitingStudy) -> list[dict]:
    """Return a cell for each defence of Table 4."""
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


def figure_lines(run: Run, study: RevisitingStudy, figure: Figure) -> dict:
    """Return the figure's accuracies: panel -> line -> eps of the sweep -> seed."""
    panels: dict[str, dict] = {}
    for title, (attack, apart, lines) in figure.panels.items():
        panels[title] = {}
        for target, crafted_on in lines.items():
            points = [
                run.values(each, target, crafted_on, apart, run.figure)
                for each in [Attack("clean"), *(Attack(attack, eps) for eps in study.sweep)]
            ]
            panels[title][target] = [[m["accuracy"] for m in seeds] for seeds in points]
    return {
        "title": f"{study.title}, {figure.title}",
        "seeds": run.seeds,
        "examples": run.figure,
        "sweep": (0, *study.sweep),
        "panels": panels,
    }


def masking_signs(run: Run, study: RevisitingStudy) -> dict:
    """Return the sanity report's evidence on the first seed's C and AE-C."""
    eps = study.sanity / 255
    n = min(SANITY_EXAMPLES, run.examples)
    images, labels = run.images[:n], run.labels[:n]
    attack, alone, evidence = Attack("pgd", study.sanity), run.models.defence("C", 0), {}
    for name, base in (("C", None), ("AE-C", alone)):
        defence = run.models.defence(name, 0)
        others = {}
        if run.seeds > 1:  # Table 2 b's attack
            apart = run.models.defence(name, 1)
            others["black-box"] = survivors(
                attack, defence, apart, images, labels, run.folder, run.crafting
            )
        subject = Subject(
            defence,
            images,
            labels,
            ThreatModel("linf", eps),
            **parameters(attack),
            base=base,
            others=others,
        )
        evidence[name] = [dataclasses.asdict(each) for each in report(subject)]
    return {"examples": n, "evidence": evidence}
