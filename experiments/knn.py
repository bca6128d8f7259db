"""kNN reconstruction beside the paper's numbers, and attacked through the neighbours.

    python -m experiments.knn --dataset=mnist                # Tables 9 and 10, seconds included
    python -m experiments.knn --dataset=mnist --search=approximate   # faiss, its recall measured
    python -m experiments.knn --dataset=mnist --reduce=128   # a bank of principal components

The paper's columns attack the defence without its neighbours ("as printed"). Beside them: PGD
through the neighbours (BPDA: the identity and a soft mean in their place, whichever does more), and
Square on a few examples. Result: result.json in the run's folder.

Paper: AAA Tables 9 and 10.
"""

import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

import zoo
from experiments.aaa_models import autoencoder_name
from experiments.common_flags import test_examples
from experiments.console import command_line, friendly
from experiments.paper import Cells, paper_accuracy
from experiments.studies import STUDIES, Study, study_for
from experiments.tables import print_tables
from keras_aaa import data, defend
from keras_aaa.attacks import pgd, square
from keras_aaa.evaluation import correct, craft
from keras_aaa.knn import (
    MEMORY,
    KnnReconstruction,
    approximate_search,
    build_bank,
    encoder,
    exact_search,
    knn_attackable,
    knn_reconstruction,
    recall,
    reduce_bank,
)
from keras_aaa.models.fast_copy import fast_copy
from keras_aaa.models.precision import POLICIES, choose_precision
from keras_aaa.results import Accuracy, provenance, write_json
from keras_aaa.threat_model import threat_for

FLAGS = flags.FLAGS
WITH_KNN = [name for name in STUDIES if name != "cifar10"]  # a U-Net decodes not from its latent
flags.DEFINE_enum("dataset", "mnist", WITH_KNN, "Data set.")
flags.DEFINE_list("loss", ["ce", "mse", "ce_mse"], "Which of the zoo's autoencoders.")
flags.DEFINE_integer("k", 10, "Neighbours.", 1)
flags.DEFINE_enum("search", "exact", ["exact", "approximate"], "Approximate: the extra knn.")
flags.DEFINE_enum("precision", "auto", [*POLICIES, "auto"], "Of crafting, and of an exact search.")
flags.DEFINE_integer("reduce", 0, "Principal components that the bank keeps; 0 keeps all.", 0)
flags.DEFINE_integer("bank_examples", 0, "Training examples in the bank; 0 takes all.", 0)
flags.DEFINE_integer("eval_examples", 1000, "The first so many test examples; 0 takes all.", 0)
flags.DEFINE_integer("bpda_examples", 500, "Those attacked through the neighbours.", 1)
flags.DEFINE_integer("square_examples", 100, "Those attacked by Square.", 1)
flags.DEFINE_integer("queries", 1000, "Of Square.", 1)
flags.DEFINE_float("memory_gb", MEMORY / 1e9, "What a search may take besides the bank.", 0.01)
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR else.")
flags.DEFINE_string("workdir", None, "The run's folder; runs/knn_<dataset> by default.")

SURROGATES = ("identity", "soft")


def main(argv):
    study, threat = study_for(FLAGS.dataset), threat_for(FLAGS.dataset)
    spec = data.image_spec(FLAGS.dataset, FLAGS.data_dir)
    images, labels = data.first(
        data.load(FLAGS.dataset, "test", FLAGS.data_dir),
        test_examples(spec.examples["test"]),
    )
    train = data.load(FLAGS.dataset, "train", FLAGS.data_dir).map(lambda image, label: image)
    rows, seconds, found_recall = [], {}, {}
    for loss in FLAGS.loss:
        name = autoencoder_name(FLAGS.dataset, loss)
        autoencoder = zoo.load(name)
        began = time.monotonic()
        bank = build_bank(
            autoencoder, train, FLAGS.bank_examples or spec.examples["train"], FLAGS.dataset
        )
        if FLAGS.reduce:
            bank = reduce_bank(bank, FLAGS.reduce)
        seconds[f"{name}: bank"] = time.monotonic() - began
        precision = choose_precision(FLAGS.precision)
        exact = exact_search(bank, precision, 1e9 * FLAGS.memory_gb)
        search = exact
        if FLAGS.search == "approximate":
            began = time.monotonic()
            search = approximate_search(bank)
            seconds[f"{name}: index"] = time.monotonic() - began
        neighbours = knn_reconstruction(autoencoder, bank, FLAGS.k, search)
        queries = bank.reduce(tf.reshape(_encode(autoencoder, images), (len(labels), -1)))
        began = time.monotonic()
        found = search(queries, FLAGS.k)
        found.numpy()
        seconds[f"{name}: neighbours of {len(labels)} images"] = time.monotonic() - began
        truth = exact_search(bank, "float32", 1e9 * FLAGS.memory_gb)(queries[:500], FLAGS.k)
        found_recall[name] = recall(found[:500], truth)
        for classifier in study.classifiers:
            rows += _measure(
                study, threat, autoencoder, classifier, neighbours, loss, images, labels, precision
            )
        del bank, exact, search, neighbours  # one bank at a time
    result = {
        "command": command_line("experiments.knn"),
        "threat": {"norm": threat.norm, "eps": threat.eps},
        "precision": {"crafting": choose_precision(FLAGS.precision), "scoring": "float32"},
        "measurements": rows,
        "recall": found_recall,
        "seconds": seconds,
        "provenance": provenance(),
    }
    workdir = Path(FLAGS.workdir or f"runs/knn_{FLAGS.dataset}")
    write_json(workdir / "result.json", result)
    print_tables(result)
    for what, spent in seconds.items():
        print(f"{what}: {spent:.1f} s")
    for name, share in found_recall.items():
        print(f"{name}: recall@{FLAGS.k} {share:.3f}")


def _encode(autoencoder, images):
    encode = tf.function(encoder(autoencoder))
    return tf.concat([encode(images[i : i + 250]) for i in range(0, len(images), 250)], axis=0)


def _measure(
    study: Study,
    threat,
    autoencoder,
    classifier: str,
    neighbours: KnnReconstruction,
    loss: str,
    images,
    labels,
    precision: str,
) -> list[dict]:
    """Rows of one classifier behind one autoencoder."""
    behind = zoo.load(classifier)
    plain = defend(autoencoder, behind)
    defence = knn_attackable(autoencoder, behind, neighbours, "identity")
    crafting = fast_copy(plain, precision)
    common = {"threat": threat, "step_size": study.test_step_size}
    standing = correct(defence, images, labels)
    table = "table9_knn" if classifier == study.source else "table10_knn_transfer_fc"
    cells = (Cells(table, row=f"{FLAGS.dataset}_"),)
    row, rows = f"aaa_{loss}", []

    def add(attack: str, steps: int | None, mask: np.ndarray) -> None:
        column = attack + str(steps or "")
        accuracy = Accuracy(int(mask.sum()), len(mask)).to_json()
        where = {"table": f"{table}_{FLAGS.dataset}", "row": row, "classifier": classifier}
        paper = paper_accuracy(cells, row, column)
        rows.append({**where, "attack": attack, "steps": steps, **accuracy, "paper": paper})

    add("clean", None, standing)
    start, done, alive = None, 0, standing
    for steps in study.test_steps:
        x_adv = craft(
            lambda x, y, picked, index, start=start, more=steps - done: pgd(
                crafting,
                x,
                y,
                steps=more,
                start=None if start is None else tf.gather(start, picked),
                seed=index,
                **common,
            ),
            images,
            labels,
            threat,
        )
        alive = alive & correct(defence, x_adv, labels)
        start, done = x_adv, steps
        add("pgd", steps, alive)

    n = FLAGS.bpda_examples
    survived = standing[:n]
    for surrogate in SURROGATES:
        attacked = knn_attackable(autoencoder, behind, neighbours, surrogate)
        x_adv = craft(
            lambda x, y, picked, index, attacked=attacked: pgd(
                attacked, x, y, steps=study.test_steps[0], seed=index, **common
            ),
            images[:n],
            labels[:n],
            threat,
        )
        survived = survived & correct(defence, x_adv, labels[:n])
    add("bpda", study.test_steps[0], survived)

    n = FLAGS.square_examples
    x_adv = craft(
        lambda x, y, picked, index: square(
            defence, x, y, threat=threat, queries=FLAGS.queries, seed=index
        ),
        images[:n],
        labels[:n],
        threat,
    )
    add("square", None, standing[:n] & correct(defence, x_adv, labels[:n]))
    return rows


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
