"""Protect a classifier of your own: train one, attack it, put the zoo's autoencoder before it.

    python -m experiments.protect

Prints clean and PGD-40 accuracy on 500 test digits before and after. About a minute on two cores.
"""

import sys

import keras
from absl import app, flags

import keras_aaa
import zoo
from experiments.console import friendly
from keras_aaa import data
from keras_aaa.evaluation import PgdTest, survive_pgd

FLAGS = flags.FLAGS
flags.DEFINE_integer("train_examples", 20_000, "Training examples of the classifier.", 1000)
flags.DEFINE_integer("eval_examples", 500, "The first so many test examples.", 1)
flags.DEFINE_string("autoencoder", "aaa_mnist_ce_mse", "An autoencoder of the zoo, for MNIST.")


def my_classifier() -> keras.Model:
    """Return a classifier that no recipe here knows, trained with plain Keras."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    train = data.load("mnist", "train").take(FLAGS.train_examples).batch(64)
    model.fit(train, epochs=3, shuffle=False, verbose=0)  # in the data set's own order
    return model


def main(argv):
    if (trained_on := zoo.info(FLAGS.autoencoder).dataset) != "mnist":
        raise ValueError(
            f"--autoencoder: expected one of MNIST, {FLAGS.autoencoder} is of {trained_on}."
        )
    keras.utils.set_random_seed(0)
    classifier = my_classifier()
    defended = keras_aaa.defend(zoo.load(FLAGS.autoencoder), classifier)
    images, labels = data.first(data.load("mnist", "test"), FLAGS.eval_examples)
    threat, test = keras_aaa.threat_for("mnist"), PgdTest((40,), 0.01)
    for name, model in (("alone", classifier), ("defended", defended)):
        standing = survive_pgd(model, images, labels, threat=threat, test=test)
        clean, robust = standing[None].mean(), standing[40].mean()
        print(f"{name}: clean {clean:.1%}, PGD-40 {robust:.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
