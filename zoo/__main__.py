"""The zoo on the command line.

    python -m zoo list [--dataset=mnist] [--kind=autoencoder] [--threat=linf]
    python -m zoo info NAME
    python -m zoo verify NAME [--examples=1000] [--attack=autoattack] [--data_dir=...]
    python -m zoo fetch NAME
    python -m zoo export NAME --out=DIR          write a folder for TensorFlow Serving
    python -m zoo index [--check]                rebuild the index and the pages from the cards
    python -m zoo pack --out=DIR                 write the tar files that a remote zoo serves

--version selects a version, by default the newest. --json prints JSON.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from absl import app, flags, logging
from rich.console import Console
from rich.table import Column, Table

import zoo
from keras_aaa.checks import lookup
from keras_aaa.norms import NORMS
from zoo import index, versions
from zoo.artefact import pack
from zoo.card import KINDS
from zoo.verify import verify_card

FLAGS = flags.FLAGS
flags.DEFINE_bool("json", False, "Print JSON.")
flags.DEFINE_integer("version", None, "All but list, index, pack: version; default: the newest.", 1)
flags.DEFINE_string("dataset", None, "list: only models of this data set.")
flags.DEFINE_enum("kind", None, KINDS, "list: only models of this kind.")
flags.DEFINE_enum("threat", None, list(NORMS), "list: only models of this threat norm.")
flags.DEFINE_integer("examples", None, "verify: number of examples; the card's by default.", 1)
flags.DEFINE_string("attack", "pgd", "verify: pgd or autoattack.")
flags.DEFINE_string("data_dir", None, "verify: folder of prepared TFDS data sets.")
flags.DEFINE_string("out", None, "export, pack: the folder to write.")
flags.DEFINE_bool("check", False, "index: only compare; fail if something is out of date.")


def _console() -> Console:
    """Return a console; a pipe is 160 columns wide, so that no column is cut."""
    return Console(width=None if sys.stdout.isatty() else 160)


def list_() -> int:
    names = zoo.list_models(FLAGS.dataset, FLAGS.kind, FLAGS.threat)
    rows = {
        model.name: asdict(model.entry) | {"version": model.version, "at_hand": model.at_hand()}
        for model in map(versions.find, names)
        if model.entry
    }
    if FLAGS.json:
        print(json.dumps(rows, indent=1))
        return 0
    # A narrow terminal must not cut the names, because people copy them.
    names_column = Column("model", min_width=max(map(len, rows), default=0))
    table = Table(names_column, "version", "kind", "data set", "threat", "MB", "local")
    for name, row in rows.items():
        size, here = f"{row['bytes'] / 1e6:.1f}", "yes" if row["at_hand"] else "no"
        cells = (str(row["version"]), row["kind"], row["dataset"], row["threat"], size, here)
        table.add_row(name, *cells)
    _console().print(table)
    return 0


def info(name: str) -> int:
    card = zoo.info(name, FLAGS.version)
    print(json.dumps(card.to_json(), indent=1) if FLAGS.json else index.model_page(card), end="\n")
    return 0


def verify(name: str) -> int:
    model = versions.find(name, FLAGS.version)
    settings = {"examples": FLAGS.examples, "attack": FLAGS.attack, "data_dir": FLAGS.data_dir}
    checks = verify_card(model, **settings)
    if FLAGS.json:
        print(json.dumps([asdict(check) | {"holds": check.holds} for check in checks], indent=1))
    else:
        table = Table("classifier", "attack", "card", "measured", "tolerance", "n", "")
        for c in checks:
            cells = [f"{100 * v:.2f}" for v in (c.claimed, c.measured, c.tolerance)]
            verdict = "confirmed" if c.holds else "[red]differs[/red]"
            table.add_row(
                c.defended, f"{c.attack}{c.steps or ''}", *cells, str(c.examples), verdict
            )
        _console().print(table)
    return 0 if all(check.holds for check in checks) else 1


def fetch(name: str) -> int:
    folder = versions.find(name, FLAGS.version).folder()
    print(json.dumps({"folder": str(folder)}) if FLAGS.json else folder)
    return 0


def export(name: str) -> int:
    from keras_aaa.serving import export_for_serving

    model = versions.find(name, FLAGS.version)
    model.card()
    folder = export_for_serving(model.folder(), name, model.version, _out())
    instructions = _out() / f"{name}.md"
    if FLAGS.json:
        print(json.dumps({"folder": str(folder), "how": str(instructions)}))
    else:
        print(f"Exported to {folder}. Instructions for serving: {instructions}")
    return 0


def index_() -> int:
    stale = index.refresh(versions.ROOT, versions.INDEX, check=FLAGS.check)
    names = [path.relative_to(versions.INDEX.parent).as_posix() for path in stale]
    if FLAGS.json:
        print(json.dumps({"differed": names}))
    elif names:
        print(("Out of date: " if FLAGS.check else "Rewritten: ") + ", ".join(names))
    return 1 if names and FLAGS.check else 0


def pack_() -> int:
    out, paths = _out(), []
    out.mkdir(parents=True, exist_ok=True)
    for model in versions.newest():
        paths.append(out / f"{model.name}-{model.version}.tar")
        pack(model.folder(), paths[-1])
    print(
        json.dumps({"archives": [str(p) for p in paths]})
        if FLAGS.json
        else f"Wrote {len(paths)} archives to {out}."
    )
    return 0


def _out() -> Path:
    if not FLAGS.out:
        raise ValueError("--out: expected the folder to write.")
    return Path(FLAGS.out)


# command -> (function, number of names it takes, its flags beside --json)
COMMANDS: dict[str, tuple[Callable[..., int], int, tuple[str, ...]]] = {
    "list": (list_, 0, ("dataset", "kind", "threat")),
    "info": (info, 1, ("version",)),
    "verify": (verify, 1, ("version", "examples", "attack", "data_dir")),
    "fetch": (fetch, 1, ("version",)),
    "export": (export, 1, ("version", "out")),
    "index": (index_, 0, ("check",)),
    "pack": (pack_, 0, ("out",)),
}


def main(argv: list[str]) -> int:
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("ERROR")  # one retracing for each model is expected
    try:
        if len(argv) < 2:
            raise ValueError(f"expected a command: {', '.join(COMMANDS)}. See --help.")
        command, names, own_flags = lookup("command", argv[1], COMMANDS)
        if len(argv) != 2 + names:
            raise ValueError(f"{argv[1]}: expected {names} name(s), got {len(argv) - 2}.")
        for flag in {name for _, _, others in COMMANDS.values() for name in others} - {*own_flags}:
            if FLAGS[flag].present:
                raise ValueError(f"--{flag}: {argv[1]} does not use it; leave it out.")
        return command(*argv[2:])
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    app.run(main)
