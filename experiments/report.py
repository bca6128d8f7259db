"""Write the generated tables of the pages of docs/: results and the list of commands.

python -m experiments.report           # rewrites the tables between their markers
python -m experiments.report --check   # exit code 2 if a page is out of date

A page chooses its results by markers: the tables of the named files are written between
<!-- results: aaa_mnist knn_* --> and <!-- results: end -->. Each file of experiments/results must
be named exactly once. docs/commands.md has the commands of experiments/cli.py between its markers.
"""

import json
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

from absl import app, flags

from experiments.cli import COMMANDS
from experiments.command import friendly
from experiments.revisiting.tables import tables as revisiting_tables
from experiments.tables import benchmark_tables, schedule_tables, tables

BLOCK = re.compile(r"(<!-- results: (?!end)([^>]*?) -->\n).*?(<!-- results: end -->)", re.DOTALL)
COMMANDS_BLOCK = re.compile(r"(<!-- commands -->\n).*?(<!-- commands: end -->)", re.DOTALL)
RESULTS = Path(__file__).parent / "results"
PAGES = ("docs/results.md", "docs/cifar10.md")
COMMANDS_PAGE = "docs/commands.md"
# key of a result -> function that makes its tables
TABLES = {
    "measurements": tables,
    "benchmark": benchmark_tables,
    "revisiting": revisiting_tables,
    "schedules": schedule_tables,
}

FLAGS = flags.FLAGS
flags.DEFINE_bool("check", False, "Only compare; fail if a page is out of date.")


def main(argv):
    texts = {page: Path(page).read_text(encoding="utf-8") for page in (*PAGES, COMMANDS_PAGE)}
    fresh_texts = dict(zip(PAGES, rewritten([texts[page] for page in PAGES], RESULTS), strict=True))
    fresh_texts[COMMANDS_PAGE] = with_commands(texts[COMMANDS_PAGE])
    for path, fresh in fresh_texts.items():
        text = texts[path]
        if fresh == text:
            print(f"{path} is up to date.")
        elif FLAGS.check:
            raise ValueError(f"{path} is out of date: run python -m experiments.report.")
        else:
            Path(path).write_text(fresh, encoding="utf-8")
            print(f"{path} rewritten.")


def rewritten(pages: list[str], folder: Path) -> list[str]:
    """Return the pages with the tables of the folder's results between their markers.

    Raises:
        ValueError: if a result has no block or several blocks; lists these results.
    """
    names = sorted(path.stem for path in folder.glob("*.json"))
    shown: list[str] = []

    def block(match: re.Match) -> str:
        begin, patterns, end = match.groups()
        # In the order of the patterns, each name once.
        fitting = [n for pattern in patterns.split() for n in names if fnmatch(n, pattern)]
        chosen = list(dict.fromkeys(fitting))
        shown.extend(chosen)
        return f"{begin}{markdown([folder / f'{name}.json' for name in chosen])}{end}"

    fresh = [BLOCK.sub(block, page) for page in pages]
    misplaced = [name for name in names if shown.count(name) != 1]
    if misplaced:
        raise ValueError(
            f"{', '.join(misplaced)}: expected in one block <!-- results: ... --> of "
            f"{' and '.join(PAGES)}, found in {', '.join(str(shown.count(n)) for n in misplaced)}."
        )
    return fresh


def with_commands(page: str) -> str:
    """Return the page with the table of all commands between its markers."""
    rows = [[f"`{name}`", f"`{module}`", purpose] for name, (module, purpose) in COMMANDS.items()]
    lines = map(_line, [["command", "module", "purpose"], ["---"] * 3, *rows])
    return COMMANDS_BLOCK.sub("\\1" + "\n".join(lines) + "\n\\2", page)


def markdown(paths: list[Path]) -> str:
    """Return the tables of these results, with the command that repeats each."""
    parts = []
    for result in _merged([json.loads(path.read_text()) for path in paths]):
        kind = next(key for key in TABLES if key in result)
        for title, header, rows in TABLES[kind](result):
            lines = [f"**{title}**", "", _line(header), _line(["---"] * len(header))]
            parts.append("\n".join([*lines, *map(_line, rows)]) + "\n")
        machine, precision = result["provenance"]["machine"], result.get("precision")
        notes = [
            _commands(result["commands"]),
            f"{machine['cores']} cores of {machine['processor']}",
        ]
        if precision:
            notes += [f"crafted in {precision['crafting']}", f"scored in {precision['scoring']}"]
        if result.get("stored_as") == "jpeg":
            notes += ["images from a JPEG copy of the set"]
        parts.append(", ".join(notes) + ".\n")
    return "\n".join(parts)


def _merged(results: list[dict]) -> list[dict]:
    """Merge evaluations of several defences under the same attacks into one result."""
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


def _commands(commands: list[str]) -> str:
    """Return the commands as text; commands that differ only in their model are merged."""
    models = [re.search(r"--model=(\S+)", command) for command in commands]
    templates = {re.sub(r"--model=\S+", "--model=NAME", command) for command in commands}
    if len(commands) > 1 and len(templates) == 1 and all(models):
        names = ", ".join(f"`{match[1]}`" for match in models if match)
        return f"`{templates.pop()}` with NAME {names}"
    return "; ".join(f"`{command}`" for command in commands)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
