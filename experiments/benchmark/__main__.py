"""How fast, and how strong: ours beside the other libraries.

    python -m experiments.benchmark                       # every job whose model is in the zoo
    python -m experiments.benchmark --jobs=pgd_mnist --json

Every contender runs in a process of its own, in turn, on the same weights and the same first test
examples, with the fastest of the batch sizes. Its attack's images are scored here, in float32: a
fast attack that finds less is no win. The roofline is the model's multiply-adds over the measured
peak of a square matrix product. Contenders that are not installed are named and left out (extra
`bench`; PyTorch and torchattacks where they are installed). A run that was broken off goes on after
the last contender that it timed.
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
from experiments.benchmark.jobs import JOBS, Job, job_for
from experiments.benchmark.roofline import multiply_adds, per_image
from experiments.benchmark.subject import Subject, load_subject
from experiments.benchmark.tables import tables
from experiments.console import command_line, friendly, print_tables
from keras_aaa.evaluation import correct
from keras_aaa.fast.precision import peak
from keras_aaa.figures import bar_chart
from keras_aaa.hashing import weights_hash
from keras_aaa.results import Measurement, cached, provenance, write_json

FLAGS = flags.FLAGS
flags.DEFINE_list("jobs", [], f"Of {', '.join(JOBS)}; by default all whose model is in the zoo.")
flags.DEFINE_list("contenders", [], "Only those of these names.")
flags.DEFINE_integer("examples", 0, "Fewer examples than a job's own; 0 takes its own.", 0)
flags.DEFINE_list("batch_sizes", ["128", "256", "512"], "Tried in turn while it gets faster.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR else.")
flags.DEFINE_bool("json", False, "Print JSON instead of tables.")
flags.DEFINE_string("workdir", "runs/benchmark", "Where result.json and benchmark.png go.")
flags.DEFINE_bool("again", False, "Time anew what an earlier run in the workdir has timed.")


def main(argv):
    at_hand = zoo.list_models()
    names = FLAGS.jobs or [name for name, job in JOBS.items() if job.autoencoder in at_hand]
    jobs = {name: job_for(name) for name in names}
    console = Console(stderr=True)
    peaks = {precision: peak(precision) for precision in ("float32", "bfloat16")}
    rows = []
    for name, job in jobs.items():
        rows += _run_job(name, job, peaks, console)
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
            job.title: {
                row["contender"]: (row["median"], row["low"], row["high"])
                for row in rows
                if row["job"] == name
            }
            for name, job in jobs.items()
        },
        "images a second",
        workdir / "benchmark.png",
    )
    if FLAGS.json:
        print(json.dumps(result, indent=1))
        return
    print_tables(tables(result))
    print(f"result.json and benchmark.png are in {workdir}.")


def _run_job(name: str, job: Job, peaks: dict[str, float], console: Console) -> list[dict]:
    subject = load_subject(job, FLAGS.data_dir)
    work = per_image(job.kind, job.steps, multiply_adds(subject.defence))
    chosen = {k: c for k, c in CONTENDERS[job.kind].items() if k in (FLAGS.contenders or [k])}
    key = {
        "weights": weights_hash(subject.defence),
        "job": asdict(job),
        "examples": FLAGS.examples,
        "batch_sizes": FLAGS.batch_sizes,
        "provenance": provenance(),  # other code or another machine is timed anew
    }
    rows = []
    for contender, how in chosen.items():
        if how.missing:
            console.print(f"{name}: {contender} is left out, {how.requires} is not installed.")
            continue
        with console.status(f"{job.title}: {contender}"):
            row = cached(
                Path(FLAGS.workdir) / "rows",
                key | {"contender": contender},
                partial(_row, name, job, contender, subject),
                name=f"{name}_{contender.replace(' ', '_')}",
                again=FLAGS.again,
            )
        speed = row["median"] * work
        of_peak = {precision: speed / top for precision, top in peaks.items()}
        rows.append({**row, "multiply_adds": work, "of_peak": of_peak})
    return rows


def _row(name: str, job: Job, contender: str, subject: Subject) -> dict:
    """Time one contender, and score what its attack found."""
    with tempfile.TemporaryDirectory() as out:
        measured, found = _in_own_process(name, contender, Path(out))
    accuracy = None
    if found is not None:
        images, labels = (a[: len(found)] for a in (subject.images, subject.labels))
        x_adv = np.asarray(subject.threat.project(found, images))
        accuracy = Measurement.of(correct(subject.defence, x_adv, labels))
    rates = measured["rates"]
    return {
        "job": name,
        "title": job.title,
        "contender": contender,
        "batch_size": measured["batch_size"],
        "median": statistics.median(rates),
        "low": min(rates),
        "high": max(rates),
        "robust": accuracy and accuracy.counts(),
    }


def _in_own_process(job: str, contender: str, out: Path) -> tuple[dict, np.ndarray | None]:
    flag = {
        "job": job,
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
        raise ValueError(f"{contender} failed at {job}: {last}")
    found = out / "found.npy"
    rates = json.loads((out / "rates.json").read_text())
    return rates, np.load(found) if found.exists() else None


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
