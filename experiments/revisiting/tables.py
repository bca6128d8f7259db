"""Make the study's tables: mean and spread over the seeds, with the paper's numbers."""

import statistics
from collections.abc import Iterator

from experiments.revisiting.study import STUDIES

# Attacks without a bound, which no defence survives. The length of the perturbations compares them.
UNBOUNDED = {
    attack.title
    for study in STUDIES.values()
    for table in study.tables.values()
    for attack in table.attacks
    if attack.eps is None and attack.name != "clean"
}


def tables(result: dict) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield (title, header, rows of cells) for each table of a result.json of the study.

    A cell reads "mean ± sample standard deviation over the seeds (paper)", in percent except for
    the gradient amplitudes. One seed has no deviation. Each figure gives a table of its lines. The
    last table holds the sanity report, if it was run.
    """
    cells = result["revisiting"]
    for title in dict.fromkeys(cell["table"] for cell in cells):
        in_table = [cell for cell in cells if cell["table"] == title]
        columns = list(dict.fromkeys(cell["column"] for cell in in_table))
        body = []
        for row, n in dict.fromkeys((cell["row"], cell["examples"]) for cell in in_table):
            by_column = {c["column"]: c for c in in_table if (c["row"], c["examples"]) == (row, n)}
            body.append([row, f"{n:,}", *(_cell(by_column.get(column)) for column in columns)])
        note = "; in brackets the paper's" if any(c["paper"] is not None for c in in_table) else ""
        if any(c["row"] in UNBOUNDED for c in in_table):
            note += "; l2: the mean length of the perturbations, crafted in float32"
        if any("eps" in c["row"] for c in in_table):
            note += "; eps of 255"
        seeds = len(in_table[0]["values"])
        values = f"mean ± deviation of {seeds} seeds" if seeds > 1 else "one seed"
        yield f"{title}; {values}{note}", ["", "n", *columns], body
    for figure in result["figures"].values():
        yield _lines(figure)
    if result["sanity"]:
        yield _signs(result["sanity"], result["threat"]["eps"])


def _lines(figure: dict) -> tuple[str, list[str], list[list[str]]]:
    """Return a figure's table: panels and their lines in the rows, eps in the columns."""
    body = [
        [panel, name, *(_percent(values) for values in points)]
        for panel, lines in figure["panels"].items()
        for name, points in lines.items()
    ]
    title = (
        f"{figure['title']}; mean ± deviation of {figure['seeds']} seeds, n = "
        f"{figure['examples']:,}; eps of 255"
    )
    return title, ["", "", *(f"eps {eps:g}" for eps in figure["sweep"])], body


def _signs(sanity: dict, eps: float) -> tuple[str, list[str], list[list[str]]]:
    """Return the sanity report's table: checks in the rows, defences in the columns."""
    said = {
        name: {check["check"]: _said(check) for check in evidence}
        for name, evidence in sanity["evidence"].items()
    }
    checks = list(dict.fromkeys(check for found in said.values() for check in found))
    body = [
        [check.replace("_", " "), *(found.get(check, "") for found in said.values())]
        for check in checks
    ]
    title = (
        f"Signs of gradient masking, PGD of eps {255 * eps:g} of 255, first seed, n = "
        f"{sanity['examples']:,}; nothing found is no proof"
    )
    return title, ["", *said], body


def _said(check: dict) -> str:
    # A check without anything to compare has no figures.
    return check["warning"] or ("nothing found" if check["figures"] else "not looked at")


def _cell(cell: dict | None) -> str:
    if cell is None:
        return ""
    values, paper = cell["values"], cell["paper"]
    if cell["unit"] == "fraction":
        printed = f" ({100 * paper:.2f})" if paper is not None else ""
        length = ""
        if cell["row"] in UNBOUNDED:
            length = f", l2 {statistics.mean(m['mean_l2'] for m in cell['measured']):.2f}"
        return f"{_percent(values, 2)}{printed}{length}"
    printed = f" ({paper:.2g})" if paper is not None else ""
    spread = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2g}{spread}{printed}"


def _percent(values: list[float], digits: int = 1) -> str:
    spread = f" ± {100 * statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.{digits}f}{spread}"
