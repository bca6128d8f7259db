"""Example: train a small MNIST classifier, attack it, protect it by the zoo, attack it again.

    python -m experiments.protect

Prints clean and PGD-40 accuracy on 500 test digits, without and with the autoencoder. Takes about a
minute on two cores.
"""

import sys

import keras
from absl import app, flags

import keras_aaa
import zoo
from experiments.command import friendly
from keras_aaa import data
from keras_aaa.evaluation import PgdTest, survive_pgd

FLAGS = flags.FLAGS
flags.DEFINE_integer("train_examples", 20_000, "Training examples of the classifier.", 1000)
flags.DEFINE_integer("eval_examples", 500, "Number of test examples, the first ones.", 1)
flags.DEFINE_string("autoencoder", "aaa_mnist_ce_mse", "An autoencoder of the zoo, for MNIST.")


def my_classifier() -> keras.Model:
    """Return a user's classifier, trained with plain Keras and without a recipe."""
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
    model.fit(train, epochs=3, shuffle=False, verbose=0)  # keeps the data set's order
    return model


def main(argv):
    if (trained_on := zoo.info(FLAGS.autoencoder).dataset) != "mnist":
        raise ValueError(
            f"--autoencoder: expected one for MNIST, but {FLAGS.autoencoder} is for {trained_on}."
        )
    keras.utils.set_random_seed(0)
    classifier = my_classifier()
    defended = keras_aaa.defend(zoo.load(FLAGS.autoencoder), classifier)
    images, labels = data.first(data.load("mnist", "test"), FLAGS.eval_examples)
    threat, test = keras_aaa.threat_for("mnist"), PgdTest((40,), 0.01)
    for name, model in (("alone", classifier), ("defended", defended)):
        correct = survive_pgd(model, images, labels, threat=threat, test=test)
        clean, robust = correct[None].mean(), correct[40].mean()
        print(f"{name}: clean {clean:.1%}, PGD-40 {robust:.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
