"""Train an autoencoder for a black-box classifier, which can only be queried.

    python -m experiments.black_box --dataset=mnist --queries=64
    python -m experiments.black_box --queries=16,64,256 --ways=queries,tuned
    python -m experiments.black_box --queries=64 --url=http://HOST:8501/v1/models/NAME

Trainer and recipe are the usual ones. The classifier's gradients are finite differences of its
probabilities, with --queries queries for each image and gradient. Two ways of training use them:
`queries` starts from random weights. `tuned` starts from an autoencoder that was trained with
another classifier (--start_from; aaa_<dataset>_ce_mse by default), and trains for --tune_epochs at
a third of the learning rate. Two more rows are for comparison: that other autoencoder as it is
(`transfer`), and one that is trained with the target's true gradients (`white_box`). All are
measured by PGD with the target's true gradients, which black-box training never uses. The run's
folder holds result.json and queries.png.

Paper: AAA, "Future Work".
"""

import contextlib
import dataclasses
import json
import os
import sys

import numpy as np
import tensorflow as tf
from absl import app, flags

import zoo
from experiments import common_flags
from experiments.aaa.models import autoencoder_name
from experiments.aaa.studies import AaaStudy, study_for
from experiments.command import friendly, print_tables, record
from experiments.common_flags import (
    autoencoder_options,
    check_used,
    define_autoencoder_flags,
    define_recipe_flags,
    define_run_flags,
    define_start_from,
    overridden,
    run_setting,
    test_examples,
)
from experiments.measure import measure
from experiments.recipes import recipe_for
from experiments.tables import tables
from experiments.train_run import RunContext, Trained, from_zoo, train_in_folder
from keras_aaa import data, defend
from keras_aaa.black_box import Query, black_box, rest_query
from keras_aaa.checks import check_number, lookup
from keras_aaa.evaluation import PgdTest
from keras_aaa.figures import line_chart
from keras_aaa.models import ModelConfig
from keras_aaa.results import write_json
from keras_aaa.threat_model import ThreatModel, threat_for
from keras_aaa.training import LOSSES, Recipe

FLAGS = flags.FLAGS
WAYS = ("queries", "tuned", "white_box")
# flag -> the ways that use it; `tuned` has its own number of epochs, without a warm-up
USED_BY = {
    "queries": ("queries", "tuned"),
    "url": ("queries", "tuned"),
    "tune_epochs": ("tuned",),
    "epochs": ("queries", "white_box"),
    "eps_warmup_epochs": ("queries", "white_box"),
}
CHECKED = 8  # images on which a served target must agree with the zoo's model
ANSWERS_DIFFER = 1e-2  # largest difference in probability; rounding causes less
define_run_flags()
define_recipe_flags("quick")
define_autoencoder_flags()
define_start_from()
flags.adopt_module_key_flags(common_flags)  # so that --help lists them
flags.DEFINE_list("queries", ["64"], "Even numbers of queries per image and gradient; a run each.")
flags.DEFINE_string(
    "target", None, "Zoo name of the classifier; by default the study's target classifier."
)
flags.DEFINE_string("url", None, "URL of the served target, in TensorFlow Serving's REST form.")
flags.DEFINE_string("url_input", "images", "Name of the served model's input.")
flags.DEFINE_string("url_output", "probabilities", "Name of the served model's output.")
flags.DEFINE_list("ways", list(WAYS), f"Ways of training: any of {', '.join(WAYS)}.")
flags.DEFINE_integer("tune_epochs", 1, "Epochs of `tuned`.", 1)


def main(argv):
    # The training step's graph queries the target, which needs a thread of its own.
    tf.config.threading.set_inter_op_parallelism_threads(max(2, len(os.sched_getaffinity(0))))
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    queries = sorted(_even(text) for text in FLAGS.queries)
    ways = [lookup("way", name, dict.fromkeys(WAYS, name)) for name in FLAGS.ways]
    _check_flags(ways)
    setting = dataclasses.replace(run_setting("black_box"), precision="float32")
    target = FLAGS.target or next(name for name in study.classifiers if name != study.source)
    if zoo.info(target).kind != "classifier":
        raise ValueError(f"--target: expected a classifier, {target} is an autoencoder.")
    classifier = from_zoo(target)
    runs, asked = _train(setting, study, classifier, threat, queries, ways)
    rows = _measure(setting, study, runs, classifier, threat)
    if not setting.chief:
        return
    result = record(
        "experiments.black_box",
        dataset=FLAGS.dataset,
        threat=threat,
        training="float32",
        crafting="float32",
    ) | {
        "target": target,
        "recipe": FLAGS.recipe,
        "queries": asked,
        "measurements": rows,
        "seconds": {n: r.record["training_seconds"] for n, r in runs.items() if r.record},
    }
    write_json(setting.workdir / "result.json", result)
    _draw(rows, queries, setting.workdir / "queries.png")
    print_tables(tables(result))
    for row, count in asked.items():
        print(f"{row}: {count:,} images queried")


@contextlib.contextmanager
def _counting(model, setting: RunContext, row: str):
    """Count the queries of a run; a resumed run continues the count."""
    path = setting.workdir / row / "queries.json"
    queries = model.get_layer("queried").queries
    if path.exists():
        queries.count = json.loads(path.read_text())["count"]
    try:
        yield
    except tf.errors.OpError as error:
        if queries.failure is None:
            raise
        again = "The same command resumes from the last checkpoint."
        raise ValueError(f"{row}: a query failed. {queries.failure}. {again}") from error
    finally:
        if setting.chief and path.parent.exists():
            write_json(path, {"count": queries.count})


def _train(
    setting: RunContext,
    study: AaaStudy,
    target: Trained,
    threat: ThreatModel,
    queries: list[int],
    ways: list[str],
) -> tuple[dict[str, Trained], dict[str, int]]:
    """Return the autoencoders by row, and the number of queries by row."""
    recipe = overridden(recipe_for(setting.dataset, "aaa", FLAGS.recipe))
    check_used([recipe])
    options = autoencoder_options()
    spec = data.image_spec(setting.dataset, setting.data_dir)
    query = _probabilities(target.model)
    if FLAGS.url:
        query = rest_query(FLAGS.url, FLAGS.url_output, input_name=FLAGS.url_input)
    runs: dict[str, Trained] = {}
    asked: dict[str, int] = {}
    transfer = FLAGS.start_from or autoencoder_name(setting.dataset, "ce_mse")
    if FLAGS.start_from or "tuned" in ways or transfer in zoo.list_models():
        runs["transfer"] = from_zoo(transfer)
    # All have the size of `transfer`, so that the comparison is fair.
    config = runs["transfer"].config if "transfer" in runs else study.autoencoder

    def train(row: str, classifier: Trained, recipe: Recipe = recipe, start: Trained | None = None):
        runs[row] = train_in_folder(
            setting,
            row,
            config,
            recipe,
            classifiers=(classifier,),
            loss=options.weigh(LOSSES["ce_mse"]),
            frozen_encoder=bool(options.frozen_encoder),
            threat=threat,
            start=start,
        )

    for way, way_recipe, start in (
        ("queries", recipe, None),
        ("tuned", _tuning(recipe), runs.get("transfer")),
    ):
        for count in queries if way in ways else ():
            row = f"{way}_{count}"
            model = black_box(query, spec.shape, spec.classes, pairs=count // 2, seed=recipe.seed)
            classifier = Trained(f"queried_{target.name}", model, ModelConfig("black_box"), None)
            with _counting(model, setting, row):
                if FLAGS.url:
                    _check_answers(model, target, spec.shape)
                train(row, classifier, way_recipe, start)
            asked[row] = model.get_layer("queried").queries.count
    if "white_box" in ways:
        train("white_box", target)
    return runs, asked


def _check_answers(model, target: Trained, shape: tuple[int, ...]) -> None:
    images = tf.random.stateless_uniform((CHECKED, *shape), (0, 0))
    # Run as graphs, as in training. Otherwise Keras would wrap a failed query's error.
    answered, expected = (
        tf.nn.softmax(tf.function(m)(images)).numpy() for m in (model, target.model)
    )
    if np.abs(answered - expected).max() > ANSWERS_DIFFER:
        raise ValueError(
            f"--url: expected the model that --target names, {target.name}; {FLAGS.url} returns "
            "other probabilities."
        )


def _check_flags(ways: list[str]) -> None:
    """Refuse flags that no way of training uses, and a frozen encoder of random weights."""
    for name, used_by in USED_BY.items():
        if FLAGS[name].present and not set(used_by) & set(ways):
            raise ValueError(
                f"--{name}: expected --ways with {' or '.join(used_by)}, got {','.join(ways)}; "
                "leave it out."
            )
    if FLAGS.precision not in ("auto", "float32"):
        raise ValueError("--precision: expected float32, because all ways are compared in float32.")
    if FLAGS.frozen_encoder and ways != ["tuned"]:
        raise ValueError(
            "--frozen_encoder: expected --ways=tuned with it, because the others start from random "
            "weights."
        )


def _even(text: str) -> int:
    if not text.isdigit() or int(text) % 2:
        raise ValueError(f"--queries: expected even whole numbers, got {text!r}.")
    check_number("--queries", int(text), 2, whole=True)
    return int(text)


def _tuning(recipe: Recipe) -> Recipe:
    """Return the recipe for fine-tuning a trained autoencoder."""
    rate = recipe.learning_rate / 3
    return dataclasses.replace(
        recipe, epochs=FLAGS.tune_epochs, learning_rate=rate, eps_warmup_epochs=0.0
    )


def _probabilities(model) -> Query:
    """Return the target as a black box: images -> probabilities."""
    run = tf.function(lambda images: tf.nn.softmax(model(images, training=False)))

    def query(images: np.ndarray) -> np.ndarray:
        return run(tf.constant(images)).numpy()

    return query


def _measure(setting: RunContext, study, runs, target, threat) -> list[dict]:
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir),
        test_examples(spec.examples["test"]),
    )
    rows = []
    for row, run in {"undefended": None, **runs}.items():
        measured = measure(
            row,
            defend(run.model, target.model) if run else target.model,
            images,
            labels,
            threat=threat,
            test=PgdTest(study.test_steps[:1], study.test_step_size),
            precision="float32",
            cache=setting.workdir / "measured",
            strategy=setting.strategy,
        )
        place = {"table": f"black_box_{FLAGS.dataset}", "row": row, "classifier": target.name}
        rows += [{**place, **accuracy, "paper": None} for accuracy in measured["accuracies"]]
    return rows


def _draw(rows: list[dict], queries: list[int], path) -> None:
    robust = {row["row"]: row["accuracy"] for row in rows if row["attack"] == "pgd"}
    lines = {
        label: (queries, [robust[f"{way}_{count}"] for count in queries])
        for way, label in (("queries", "anew, by queries"), ("tuned", "tuned by queries"))
        if f"{way}_{queries[0]}" in robust
    }
    for name in ("undefended", "transfer", "white_box"):
        if name in robust:
            ends = sorted({min(queries), max(queries)})
            lines[name.replace("_", "-")] = (ends, [robust[name]] * len(ends))
    line_chart({"": lines}, "queries an image and gradient", "accuracy under PGD", path, log=True)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
