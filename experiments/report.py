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
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        kind = next(key for key in TABLES if key in result)
        for title, header, rows in TABLES[kind](result):
            lines = [f"**{title}**", "", _line(header), _line(["---"] * len(header))]
            parts.append("\n".join([*lines, *map(_line, rows)]) + "\n")
        machine, precision = result["provenance"]["machine"], result.get("precision")
        notes = [f"`{result['command']}`", f"{machine['cores']} cores of {machine['processor']}"]
        if precision:
            notes += [f"crafted in {precision['crafting']}", f"scored in {precision['scoring']}"]
        parts.append(", ".join(notes) + ".\n")
    return "\n".join(parts)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
