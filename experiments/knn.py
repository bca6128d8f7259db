"""Measure kNN reconstruction, compare with the paper, and attack through the neighbours.

    python -m experiments.knn --dataset=mnist                # Tables 9 and 10, with timings
    python -m experiments.knn --dataset=mnist --search=approximate   # accuracies with faiss' search
    python -m experiments.knn --dataset=mnist --reduce=128   # a bank of principal components

The paper's columns attack the defence without its neighbours ("as printed"). Two columns are added.
The first is PGD through the neighbours (BPDA), with the identity and with a soft mean in their
place; the stronger attack counts. The second is Square on a few examples. Each search is timed on
all test images, and its recall is measured; the approximate search needs faiss. The run's folder
holds result.json. An interrupted run resumes after the last measured classifier.

Paper: AAA Tables 9 and 10.
"""

import importlib.util
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

import zoo
from experiments.aaa.models import autoencoder_name
from experiments.aaa.studies import STUDIES, AaaStudy, study_for
from experiments.command import define_alias, friendly, print_tables, record
from experiments.common_flags import test_examples
from experiments.paper import Cells, paper_accuracy
from experiments.tables import tables
from keras_aaa import data, defend
from keras_aaa.checks import check_number
from keras_aaa.evaluation import PgdTest, attack_all, resists, survive_pgd
from keras_aaa.fast.precision import POLICIES, choose_precision
from keras_aaa.hashing import weights_hash
from keras_aaa.knn import (
    MEMORY,
    Bank,
    KnnReconstruction,
    Search,
    approximate_search,
    build_bank,
    exact_search,
    knn_attackable,
    knn_reconstruction,
    recall,
    reduce_bank,
)
from keras_aaa.models.surgery import encoder
from keras_aaa.results import Measurement, cached, write_json
from keras_aaa.threat_model import threat_for

FLAGS = flags.FLAGS
SEARCHES = ("exact", "approximate")
WITH_KNN = [name for name in STUDIES if name != "cifar10"]  # a U-Net needs more than a latent
flags.DEFINE_enum("dataset", "mnist", WITH_KNN, "Data set.")
flags.DEFINE_list("loss", ["ce", "mse", "ce_mse"], "Losses of the zoo's autoencoders.")
flags.DEFINE_integer("k", 10, "Number of neighbours.", 1)
flags.DEFINE_enum("search", "exact", SEARCHES, "Search; approximate needs the extra knn.")
flags.DEFINE_enum(
    "crafting",
    "auto",
    [*POLICIES, "auto"],
    "Precision of the attacks and of an exact search.",
)
define_alias("precision", "crafting")
flags.DEFINE_integer("reduce", 0, "Principal components that the bank keeps; 0 keeps all.", 0)
flags.DEFINE_integer("bank_examples", 0, "Training examples in the bank; 0 takes all.", 0)
flags.DEFINE_integer(
    "eval_examples", 1000, "Number of test examples, the first ones; 0 takes all.", 0
)
flags.DEFINE_integer("bpda_examples", 500, "Examples attacked through the neighbours.", 1)
flags.DEFINE_integer("square_examples", 100, "Examples attacked by Square.", 1)
flags.DEFINE_integer("queries", 1000, "Queries of Square.", 1)
flags.DEFINE_float(
    "memory_gb",
    MEMORY / 1e9,
    "GB that a search takes besides the bank; attacks take twice it.",
    0.01,
)
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
flags.DEFINE_string("workdir", None, "The run's folder; runs/knn_<dataset> by default.")

SURROGATES = ("identity", "soft")
RECALLED = 500  # number of test images for the recall


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    test_examples(spec.examples["test"])  # fails if there are fewer
    check_number("--k", FLAGS.k, 1, FLAGS.bank_examples or spec.examples["train"])
    if not any(FLAGS.loss):
        raise ValueError("--loss: expected one or more of ce, mse, ce_mse.")
    test = data.first(data.load(FLAGS.dataset, "test", FLAGS.data_dir), spec.examples["test"])
    workdir = Path(FLAGS.workdir or f"runs/knn_{FLAGS.dataset}")
    rows, searches = [], []
    for loss in FLAGS.loss:
        measured, timed = _of_autoencoder(loss, study, threat, test, workdir / "kept")
        rows += measured
        searches += timed
    result = record(
        "experiments.knn",
        dataset=FLAGS.dataset,
        threat=threat,
        crafting=choose_precision(FLAGS.crafting),
    ) | {"measurements": rows, "searches": searches, "components": FLAGS.reduce}
    write_json(workdir / "result.json", result)
    print_tables(tables(result))


def _of_autoencoder(loss: str, study: AaaStudy, threat, test, folder: Path):
    """Return rows of accuracies and of searches; frees the bank on return."""
    name = autoencoder_name(FLAGS.dataset, loss)
    autoencoder, (images, labels) = zoo.load(name), test
    train = data.load(FLAGS.dataset, "train", FLAGS.data_dir).map(lambda image, label: image)
    size = data.image_spec(FLAGS.dataset, FLAGS.data_dir).examples["train"]
    began = time.monotonic()
    bank = build_bank(autoencoder, train, FLAGS.bank_examples or size, FLAGS.dataset)
    if FLAGS.reduce:
        bank = reduce_bank(bank, FLAGS.reduce)
    bank_row = {"autoencoder": name, "bank_seconds": time.monotonic() - began}
    settings = {
        "bank": [bank.weights_hash, *bank.latents.shape],
        "k": FLAGS.k,
        "precision": choose_precision(FLAGS.crafting),
        "memory_gb": FLAGS.memory_gb,
    }
    searches = []
    for kind in SEARCHES:
        if kind == FLAGS.search or kind == "exact" or importlib.util.find_spec("faiss"):
            key = settings | {"timed": kind, "queries": len(images)}
            timed = partial(_timed, kind, autoencoder, bank, images)
            searches.append(bank_row | cached(folder, key, timed))
    search = _search(FLAGS.search, bank, resident=True)
    neighbours = knn_reconstruction(autoencoder, bank, FLAGS.k, search, FLAGS.dataset)
    n, rows = FLAGS.eval_examples or len(labels), []
    for classifier in study.classifiers:
        model = zoo.load(classifier)
        key = settings | {
            "search": FLAGS.search,
            "classifier": weights_hash(model),
            "examples": [n, FLAGS.bpda_examples, FLAGS.square_examples, FLAGS.queries],
        }
        measure = partial(
            _accuracies, study, threat, autoencoder, model, neighbours, images[:n], labels[:n]
        )
        table = "table9_knn" if classifier == study.source else "table10_knn_transfer_fc"
        cells = (Cells(table, row=f"{FLAGS.dataset}_"),)
        place = {"table": f"{table}_{FLAGS.dataset}", "row": f"aaa_{loss}"}
        for accuracy in cached(folder, key, measure)["accuracies"]:
            column = accuracy["attack"] + str(accuracy["steps"] or "")
            paper = paper_accuracy(cells, f"aaa_{loss}", column)
            rows.append({**place, "classifier": classifier, **accuracy, "paper": paper})
    return rows, searches


def _search(kind: str, bank: Bank, resident: bool) -> Search:
    if kind == "approximate":
        return approximate_search(bank)
    memory = 1e9 * FLAGS.memory_gb
    return exact_search(bank, choose_precision(FLAGS.crafting), memory, resident)


def _timed(kind: str, autoencoder, bank: Bank, images) -> dict:
    """Return the seconds of a search for all images, and its recall on the first ones."""
    began = time.monotonic()
    search = _search(kind, bank, resident=False)
    index_seconds = time.monotonic() - began
    compiled = tf.function(lambda queries: search(queries, FLAGS.k))  # as in a defence
    queries = bank.reduce(tf.reshape(_encode(autoencoder, images), (len(images), -1)))
    began = time.monotonic()
    neighbours = compiled(queries)
    neighbours.numpy()
    seconds = time.monotonic() - began
    truth = exact_search(bank, "float32", 1e9 * FLAGS.memory_gb)(queries[:RECALLED], FLAGS.k)
    return {
        "search": kind,
        "latents": list(bank.latents.shape),
        "queries": len(images),
        "k": FLAGS.k,
        "index_seconds": index_seconds,
        "seconds": seconds,
        "recall": recall(neighbours[:RECALLED], truth),
    }


def _encode(autoencoder, images):
    encode = tf.function(encoder(autoencoder))
    return tf.concat([encode(images[i : i + 250]) for i in range(0, len(images), 250)], axis=0)


def _accuracies(
    study: AaaStudy,
    threat,
    autoencoder,
    classifier,
    neighbours: KnnReconstruction,
    images,
    labels,
) -> dict[str, list[dict]]:
    """Return clean and robust accuracies of one classifier behind one autoencoder."""
    plain, precision = defend(autoencoder, classifier), choose_precision(FLAGS.crafting)
    defence = knn_attackable(autoencoder, classifier, neighbours, "identity")
    rows = []

    def add(attack: str, steps: int | None, mask: np.ndarray) -> None:
        accuracy = Measurement.of(mask).counts()
        rows.append({"attack": attack, "steps": steps, **accuracy})

    def survive(attacked, steps: tuple[int, ...], precision: str, n: int):
        return survive_pgd(
            attacked,
            images[:n],
            labels[:n],
            threat=threat,
            test=PgdTest(steps, study.test_step_size),
            precision=precision,
            judge=defence,
        )

    masks = survive(plain, study.test_steps, precision, len(labels))
    for steps, mask in masks.items():
        add("clean" if steps is None else "pgd", steps, mask)

    n, steps = FLAGS.bpda_examples, study.test_steps[0]
    through = [
        survive(
            knn_attackable(autoencoder, classifier, neighbours, surrogate), (steps,), "float32", n
        )
        for surrogate in SURROGATES
    ]
    add("bpda", steps, np.logical_and.reduce([survived[steps] for survived in through]))

    n = FLAGS.square_examples
    settings = {"threat": threat, "parameters": {"queries": FLAGS.queries}}
    x_adv = attack_all(defence, "square", images[:n], labels[:n], **settings)
    add("square", None, masks[None][:n] & resists(defence, x_adv, labels[:n]))
    return {"accuracies": rows}


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
