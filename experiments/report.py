"""Write the README's result tables from experiments/results/*.json.

python -m experiments.report           # rewrites the README between its markers
python -m experiments.report --check   # exit code 1 if the README is out of date
"""

import json
import sys
from pathlib import Path

from absl import app, flags

from experiments.benchmark.tables import tables as benchmark_tables
from experiments.console import friendly
from experiments.revisiting.tables import tables as revisiting_tables
from experiments.tables import tables

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
RESULTS = Path(__file__).parent / "results"
# What a result holds -> its tables.
TABLES = {
    "measurements": tables,
    "benchmark": benchmark_tables,
    "revisiting": revisiting_tables,
}

FLAGS = flags.FLAGS
flags.DEFINE_bool("check", False, "Only compare; fail if the README is out of date.")
flags.DEFINE_string("readme", "README.md", "The file to rewrite.")


def main(argv):
    path = Path(FLAGS.readme)
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path}: expected the lines {BEGIN!r} and {END!r} once each.")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    fresh = f"{before}{BEGIN}\n{markdown(RESULTS)}{END}{after}"
    if fresh == text:
        print(f"{path} is up to date.")
    elif FLAGS.check:
        raise ValueError(f"{path} is out of date: run python -m experiments.report.")
    else:
        path.write_text(fresh, encoding="utf-8")
        print(f"{path} rewritten.")


def markdown(folder: Path) -> str:
    """Return the tables of every result in the folder, with the command that repeats each."""
    parts = []
    for result in _merged([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]):
        kind = next(key for key in TABLES if key in result)
        for title, header, rows in TABLES[kind](result):
            lines = [f"**{title}**", "", _line(header), _line(["---"] * len(header))]
            parts.append("\n".join([*lines, *map(_line, rows)]) + "\n")
        machine, precision = result["provenance"]["machine"], result.get("precision")
        commands = "; ".join(f"`{command}`" for command in result["commands"])
        notes = [commands, f"{machine['cores']} cores of {machine['processor']}"]
        if precision:
            notes += [f"crafted in {precision['crafting']}", f"scored in {precision['scoring']}"]
        if result.get("stored_as") == "jpeg":
            notes += ["images from a JPEG copy of the set"]
        parts.append(", ".join(notes) + ".\n")
    return "\n".join(parts)


def _merged(results: list[dict]) -> list[dict]:
    """Put evaluations of several defences under the same attacks into one table."""
    groups: dict[str, dict] = {}
    for index, result in enumerate(results):
        rows = result.get("measurements", ())
        same: list = [index]
        if rows and all("defence" in row for row in rows):
            same = [result["threat"], result["precision"], [row["row"] for row in rows]]
        group = groups.setdefault(json.dumps(same), result | {"commands": [], "measurements": []})
        group["commands"].append(result["command"])
        group["measurements"].extend(rows)
    return [
        {key: value for key, value in group.items() if key != "measurements" or value}
        for group in groups.values()
    ]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
