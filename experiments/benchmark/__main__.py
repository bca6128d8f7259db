"""Compare the speed and the strength of attacks and training with other libraries.

    python -m experiments.benchmark                       # every workload whose model is in the zoo
    python -m experiments.benchmark --jobs=pgd_mnist --json

The contenders run one after another, each in its own process, on the same weights and the same
first test examples. Each uses its fastest batch size. Its adversarial images are scored here in
float32, because a fast attack is no gain if it is weaker. The roofline is the model's multiply-adds
over the measured peak of a square matrix product. Contenders that are not installed are named and
skipped. The extra `bench` does not install PyTorch and torchattacks. An interrupted run resumes
after the last timed contender.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from absl import app, flags
from rich.console import Console

import zoo
from experiments.benchmark.contenders import CONTENDERS
from experiments.benchmark.workloads import (
    WORKLOADS,
    LoadedWorkload,
    Workload,
    load_workload,
    multiply_adds,
    per_image,
    workload_for,
)
from experiments.command import command_line, friendly, print_tables
from experiments.tables import benchmark_tables
from keras_aaa.checks import lookup
from keras_aaa.evaluation import resists
from keras_aaa.fast.precision import peak
from keras_aaa.figures import bar_chart
from keras_aaa.hashing import weights_hash
from keras_aaa.results import Measurement, cached, provenance, write_json

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "jobs", [], f"Workloads: any of {', '.join(WORKLOADS)}; by default all with a zoo model."
)
flags.DEFINE_list("contenders", [], "Names of the contenders; all by default.")
flags.DEFINE_integer(
    "examples", 0, "Number of examples, at most the workload's; 0 takes the workload's.", 0
)
flags.DEFINE_list("batch_sizes", ["128", "256", "512"], "Tried in turn while it gets faster.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
flags.DEFINE_bool("json", False, "Print JSON instead of tables.")
flags.DEFINE_string("workdir", "runs/benchmark", "Folder for result.json and benchmark.png.")
flags.DEFINE_bool("again", False, "Repeat timings that an earlier run in the workdir has cached.")


def main(argv):
    at_hand = zoo.list_models()
    names = FLAGS.jobs or [
        name for name, workload in WORKLOADS.items() if workload.autoencoder in at_hand
    ]
    workloads = {name: workload_for(name) for name in names}
    known = {k: c for w in workloads.values() for k, c in CONTENDERS[w.kind].items()}
    for name in FLAGS.contenders:
        lookup("contender for these workloads", name, known)
    console = Console(stderr=True)
    peaks = {precision: peak(precision) for precision in ("float32", "bfloat16")}
    rows = []
    for name, workload in workloads.items():
        rows += _run_workload(name, workload, peaks, console)
    result = {
        "command": command_line("experiments.benchmark"),
        "peaks": peaks,
        "benchmark": rows,
        "provenance": provenance(),
    }
    workdir = Path(FLAGS.workdir)
    write_json(workdir / "result.json", result)
    bar_chart(
        {
            workload.title: {
                row["contender"]: (row["median"], row["low"], row["high"])
                for row in rows
                if row["job"] == name
            }
            for name, workload in workloads.items()
        },
        "images a second",
        workdir / "benchmark.png",
    )
    if FLAGS.json:
        print(json.dumps(result, indent=1))
        return
    print_tables(benchmark_tables(result))
    print(f"result.json and benchmark.png are in {workdir}.")


def _run_workload(
    name: str, workload: Workload, peaks: dict[str, float], console: Console
) -> list[dict]:
    loaded = load_workload(workload, FLAGS.data_dir)
    work = per_image(workload.kind, workload.steps, multiply_adds(loaded.defence))
    chosen = {k: c for k, c in CONTENDERS[workload.kind].items() if k in (FLAGS.contenders or [k])}
    key = {
        "weights": weights_hash(loaded.defence),
        "job": asdict(workload),
        "examples": FLAGS.examples,
        "batch_sizes": FLAGS.batch_sizes,
        "provenance": provenance(),  # other code or another machine needs new timings
    }
    rows = []
    for contender, library in chosen.items():
        if library.missing:
            console.print(f"{name}: {contender} is skipped, {library.requires} is not installed.")
            continue
        with console.status(f"{workload.title}: {contender}"):
            row = cached(
                Path(FLAGS.workdir) / "rows",
                key | {"contender": contender},
                partial(_row, name, workload, contender, loaded),
                name=f"{name}_{contender.replace(' ', '_')}",
                again=FLAGS.again,
            )
        speed = row["median"] * work
        of_peak = {precision: speed / top for precision, top in peaks.items()}
        rows.append({**row, "multiply_adds": work, "of_peak": of_peak})
    return rows


def _row(name: str, workload: Workload, contender: str, loaded: LoadedWorkload) -> dict:
    """Time one contender, and score its adversarial images."""
    with tempfile.TemporaryDirectory() as out:
        measured, found = _in_own_process(name, contender, Path(out))
    accuracy = None
    if found is not None:
        images, labels = (a[: len(found)] for a in (loaded.images, loaded.labels))
        x_adv = np.asarray(loaded.threat.project(found, images))
        accuracy = Measurement.of(resists(loaded.defence, x_adv, labels))
    rates = measured["rates"]
    return {
        "job": name,
        "title": workload.title,
        "contender": contender,
        "batch_size": measured["batch_size"],
        "median": statistics.median(rates),
        "low": min(rates),
        "high": max(rates),
        "robust": accuracy and accuracy.counts(),
    }


def _in_own_process(workload: str, contender: str, out: Path) -> tuple[dict, np.ndarray | None]:
    flag = {
        "job": workload,
        "contender": contender,
        "examples": FLAGS.examples,
        "batch_sizes": ",".join(FLAGS.batch_sizes),
        "out": out,
    }
    if FLAGS.data_dir:
        flag["data_dir"] = FLAGS.data_dir
    command = [sys.executable, "-m", "experiments.benchmark.worker"]
    command += [f"--{key}={value}" for key, value in flag.items()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ValueError(f"{contender} failed at {workload}: {last}")
    found = out / "found.npy"
    rates = json.loads((out / "rates.json").read_text())
    return rates, np.load(found) if found.exists() else None


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
