"""What train() refuses to train on, and what it says of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa import data
from keras_aaa.inputs import training_examples
from keras_aaa.training import LOSSES, AutoencoderTask, ClassifierTask, Recipe, train

RNG = np.random.default_rng(0)
IMAGES = RNG.random((40, 28, 28, 1), np.float32)
LABELS = RNG.integers(0, 10, 40)
ONE_NAN = np.where(np.arange(40)[:, None, None, None] == 30, np.float32(np.nan), IMAGES)


def pairs(images=IMAGES, labels=LABELS):
    return tf.data.Dataset.from_tensor_slices((images, labels))


REFUSED = {
    "arrays": (lambda: (IMAGES, LABELS), TypeError, "expected a tf.data.Dataset .* got a tuple"),
    "images alone": (lambda: pairs().map(lambda x, y: x), TypeError, "its elements are"),
    "8-bit pixels": (lambda: pairs(np.uint8(255 * IMAGES)), TypeError, "8-bit .* got uint8"),
    "0 to 255": (lambda: pairs(255 * IMAGES), ValueError, "divide 8-bit pixels by 255, got 0"),
    "NaN": (lambda: pairs(ONE_NAN), ValueError, "or NaN"),
    "batches": (lambda: pairs().batch(8), ValueError, "single examples.*unbatch"),
    "another size": (lambda: pairs(IMAGES[:, :14]), ValueError, r"got \(14, 28, 1\)"),
    "one-hot labels": (
        lambda: pairs(labels=np.eye(10, dtype=np.int64)[LABELS]),
        ValueError,
        "tf.argmax",
    ),
    "fractional labels": (lambda: pairs(labels=np.float32(LABELS)), TypeError, "class indices"),
    "an eleventh class": (
        lambda: pairs(labels=1 + LABELS),
        ValueError,
        "labels: expected 0 to 9, got 1 to 10",
    ),
}


@pytest.mark.parametrize("given", REFUSED)
def test_unfit_training_data_is_refused(given, small_classifier):
    make, error, match = REFUSED[given]
    with pytest.raises(error, match=match):
        training_examples(make(), small_classifier)


def test_fit_ones_are_given_back_as_they_are_and_counted(small_classifier):
    found, size = training_examples(pairs(), small_classifier)
    assert size == 40
    images, labels = next(iter(found.batch(40)))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert training_examples(pairs(), small_classifier, 7)[1] == 7
    assert training_examples(pairs().take(0), small_classifier)[1] == 0


def test_other_widths_of_number_become_float32_and_int64(small_classifier):
    found, _ = training_examples(pairs(np.float64(IMAGES), np.uint8(LABELS)), small_classifier)
    images, labels = next(iter(found.batch(40)))
    assert (images.dtype, labels.dtype) == (tf.float32, tf.int64)
    np.testing.assert_array_equal(images, IMAGES)


def test_validation_data_is_a_pair_of_fit_arrays(small_classifier, tmp_path):
    def run(validation_data):
        train(
            ClassifierTask(small_classifier),
            Recipe(epochs=1, batch_size=8),
            train_data=pairs(),
            validation_data=validation_data,
            workdir=tmp_path,
        )

    with pytest.raises(
        TypeError, match=r"a pair \(images, labels\), got a .*Dataset; .*data.first"
    ):
        run(data.load("mnist", "validation"))
    with pytest.raises(ValueError, match=r"images: .* in \[0, 1\]"):
        run((255 * IMAGES, LABELS))
    assert not list(tmp_path.iterdir())


def test_a_task_takes_a_tuple_of_classifiers_and_losses(small_autoencoder, small_classifier):
    with pytest.raises(TypeError, match=r"tuple of one or more models, \(model,\) for one"):
        AutoencoderTask(small_autoencoder, small_classifier, LOSSES["ce"])
    with pytest.raises(TypeError, match=r"expected a Loss, .* got 'ce'"):
        ClassifierTask(small_classifier, "ce")


def test_a_task_refuses_probabilities(small_autoencoder, small_classifier):
    probabilities = keras.Sequential([small_classifier, keras.layers.Softmax()])
    for make in (
        lambda: ClassifierTask(probabilities),
        lambda: AutoencoderTask(small_autoencoder, (probabilities,), LOSSES["ce"]),
    ):
        with pytest.raises(ValueError, match=r"returns logits, .* ends in softmax"):
            make()
    with pytest.raises(TypeError, match=r"one or more models, .* got none"):
        AutoencoderTask(small_autoencoder, (), LOSSES["ce"])
