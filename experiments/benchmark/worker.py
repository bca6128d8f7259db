"""Run one contender on one workload in its own process: python -m experiments.benchmark.worker.

Writes the rate of every batch as JSON, and the adversarial images as an array, which the parent
scores.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmark.contenders import contender_for
from experiments.benchmark.workloads import load_workload, workload_for
from experiments.command import friendly

FLAGS = flags.FLAGS
flags.DEFINE_string("job", None, "A workload's name.", required=True)
flags.DEFINE_string("contender", None, "A contender's name.", required=True)
flags.DEFINE_integer(
    "examples", 0, "Number of examples, at most the workload's; 0 takes the workload's.", 0
)
flags.DEFINE_list("batch_sizes", ["128"], "Tried in turn while it gets faster.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
flags.DEFINE_string("out", None, "Folder for rates.json and found.npy.", required=True)


def main(argv):
    workload = workload_for(FLAGS.job)
    loaded = load_workload(workload, FLAGS.data_dir)
    count = min(FLAGS.examples or workload.examples, len(loaded.labels))
    images, labels = loaded.images[:count], loaded.labels[:count]
    run = contender_for(workload.kind, FLAGS.contender).set_up(loaded, workload)

    def timed(begin, size):
        picked = (begin + np.arange(size)) % count  # whole batches, because all must cost the same
        began = time.perf_counter()
        found = run(images[picked], labels[picked])
        return time.perf_counter() - began, found

    seconds = {}
    for size in map(int, FLAGS.batch_sizes):
        timed(0, size)  # compiles
        seconds[size] = timed(0, size)[0] / size
        if seconds[size] > min(seconds.values()):
            break  # larger batches will not be faster
    best = min(seconds, key=lambda size: seconds[size])
    rates, parts = [], []
    for begin in range(0, count, best):
        spent, found = timed(begin, best)
        rates.append(best / spent)
        parts.append(found)
    out = Path(FLAGS.out)
    if workload.kind == "attack":
        np.save(out / "found.npy", np.concatenate(parts)[:count])
    (out / "rates.json").write_text(json.dumps({"batch_size": best, "rates": rates}))


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
