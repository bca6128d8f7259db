"""Training an autoencoder before a classifier that can only be queried.

    python -m experiments.black_box --dataset=mnist --queries=64
    python -m experiments.black_box --queries=16,64,256 --start_from=aaa_mnist_ce_mse
    python -m experiments.black_box --queries=64 --url=http://HOST:8501/v1/models/NAME

The autoencoder is trained with the same trainer and recipe as ever; the classifier's gradients are
finite differences of the probabilities it answers with, --queries of them an image and gradient.
Beside it stand the two ends: an autoencoder trained with another classifier (transfer), and
one trained with the target's true gradients (white-box). All are measured by PGD through the
target's true gradients, of which training saw nothing. The run's folder holds result.json and
queries.png.

Paper: AAA, "Future Work".
"""

import dataclasses
import sys

import numpy as np
import tensorflow as tf
from absl import app, flags

import zoo
from experiments import common_flags
from experiments.aaa_models import autoencoder_name, of_zoo
from experiments.common_flags import (
    define_recipe_flags,
    define_run_flags,
    define_start_from,
    overridden,
    run_setting,
    test_examples,
)
from experiments.console import command_line, friendly
from experiments.measure import measure
from experiments.recipes import recipe_for
from experiments.runs import Setting, Trained, train_in_folder
from experiments.studies import Architecture, study_for
from experiments.tables import print_tables
from keras_aaa import data, defend
from keras_aaa.black_box import Query, black_box
from keras_aaa.checks import check_number
from keras_aaa.evaluation import PgdTest
from keras_aaa.figures import line_chart
from keras_aaa.rest import rest_query
from keras_aaa.results import provenance, write_json
from keras_aaa.threat_model import threat_for
from keras_aaa.training import Loss

FLAGS = flags.FLAGS
define_run_flags()
define_recipe_flags("quick")
define_start_from()
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_list("queries", ["64"], "Queries an image and gradient, an even number; a run each.")
flags.DEFINE_string("target", None, "Zoo name of the classifier; the study's transfer target.")
flags.DEFINE_string("url", None, "Where it is served, in TensorFlow Serving's REST form.")
flags.DEFINE_bool("white_box", True, "Also train with the target's true gradients.")


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    queries = [_even(text) for text in FLAGS.queries]
    setting = dataclasses.replace(run_setting(), precision="float32")
    recipe = overridden(recipe_for(FLAGS.dataset, "aaa", FLAGS.recipe))
    target = FLAGS.target or next(name for name in study.classifiers if name != study.source)
    behind = of_zoo(target)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    query = rest_query(FLAGS.url) if FLAGS.url else _probabilities(behind.model)
    common = {
        "loss": Loss(1.0, recipe.mse_weight),
        "threat": threat,
        "start": of_zoo(FLAGS.start_from) if FLAGS.start_from else None,
    }
    runs: dict[str, Trained] = {}
    transfer = FLAGS.start_from or autoencoder_name(FLAGS.dataset, "ce_mse")
    if transfer in zoo.list_models():
        runs["transfer"] = of_zoo(transfer)
    asked = {}
    for count in queries:
        model = black_box(query, spec.shape, spec.classes, pairs=count // 2, seed=recipe.seed)
        classifier = Trained(f"queried_{target}", model, Architecture("black_box"), None)
        row = f"queries_{count}"
        runs[row] = train_in_folder(
            setting, row, study.autoencoder, recipe, classifiers=(classifier,), **common
        )
        asked[row] = model.get_layer("queried").queries.count
    if FLAGS.white_box:
        runs["white_box"] = train_in_folder(
            setting, "white_box", study.autoencoder, recipe, classifiers=(behind,), **common
        )
    rows = _measure(setting, study, runs, behind, threat)
    if not setting.chief:
        return
    result = {
        "command": command_line("experiments.black_box"),
        "dataset": FLAGS.dataset,
        "target": target,
        "recipe": FLAGS.recipe,
        "threat": {"norm": threat.norm, "eps": threat.eps},
        "precision": {"training": "float32", "crafting": "float32", "scoring": "float32"},
        "queries": asked,
        "measurements": rows,
        "seconds": {n: r.record["training_seconds"] for n, r in runs.items() if r.record},
        "provenance": provenance(),
    }
    write_json(setting.workdir / "result.json", result)
    _draw(rows, queries, setting.workdir / "queries.png")
    print_tables(result)
    for row, count in asked.items():
        print(f"{row}: {count:,} images asked for in this process")


def _even(text: str) -> int:
    if not text.isdigit() or int(text) % 2:
        raise ValueError(f"--queries: expected even whole numbers, got {text!r}.")
    check_number("--queries", int(text), 2, whole=True)
    return int(text)


def _probabilities(model) -> Query:
    """The target as a stranger would meet it: images in, probabilities out."""
    run = tf.function(lambda images: tf.nn.softmax(model(images, training=False)))

    def query(images: np.ndarray) -> np.ndarray:
        return run(tf.constant(images)).numpy()

    return query


def _measure(setting: Setting, study, runs, behind, threat) -> list[dict]:
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir),
        test_examples(spec.examples["test"]),
    )
    rows = []
    for row, run in {"undefended": None, **runs}.items():
        measured = measure(
            row,
            defend(run.model, behind.model) if run else behind.model,
            images,
            labels,
            threat=threat,
            test=PgdTest(study.test_steps[:1], study.test_step_size),
            precision="float32",
            cache=setting.workdir / "measured",
            strategy=setting.strategy,
        )
        where = {"table": f"black_box_{FLAGS.dataset}", "row": row, "classifier": behind.name}
        rows += [{**where, **accuracy, "paper": None} for accuracy in measured["accuracies"]]
    return rows


def _draw(rows: list[dict], queries: list[int], path) -> None:
    robust = {row["row"]: row["accuracy"] for row in rows if row["attack"] == "pgd"}
    lines = {"by queries": (queries, [robust[f"queries_{count}"] for count in queries])}
    for name in ("undefended", "transfer", "white_box"):
        if name in robust:
            ends = sorted({min(queries), max(queries)})
            lines[name.replace("_", "-")] = (ends, [robust[name]] * len(ends))
    line_chart({"": lines}, "queries an image and gradient", "accuracy under PGD", path, log=True)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
