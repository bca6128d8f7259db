"""Masks of who survives: the same whatever the batch, scored in float32."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.attacks import pgd
from keras_aaa.evaluation import PgdTest, batch_size, correct, craft, measure, survive_pgd
from keras_aaa.evaluation.batch_size import fastest_batch
from keras_aaa.evaluation.map_threaded import BATCHES, map_threaded
from keras_aaa.fast.fast_copy import FastCopy
from keras_aaa.models import build


@pytest.fixture(scope="module")
def fitted(digits):
    """A classifier that has learned the digits at hand."""
    keras.utils.set_random_seed(0)
    model = build("fc", hidden=(64,))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*digits, epochs=60, verbose=0)
    return model


def test_counts_add_up_for_every_batching(fitted, digits, threat, monkeypatch):
    images, labels = digits
    expected = np.argmax(fitted(images), axis=-1) == labels
    assert expected.all()
    for batch in (1, 7, 64, 250):
        monkeypatch.setattr(measure, "BATCH", batch)
        np.testing.assert_array_equal(correct(fitted, images, labels), expected)
    assert correct(fitted, images[:0], labels[:0]).shape == (0,)


def test_survivors_of_more_steps_are_survivors_of_fewer(fitted, digits, threat):
    images, labels = digits
    done = []
    masks = survive_pgd(
        fitted,
        images,
        labels,
        threat=threat,
        test=PgdTest((1, 3, 20), 0.05),
        on_batch=done.append,
    )
    counts = [int(masks[steps].sum()) for steps in (1, 3, 20)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]
    assert not (masks[20] & ~masks[3]).any() and not (masks[3] & ~masks[1]).any()
    # What is left to do is done for those who are left; the rest counts as done beforehand.
    assert done[0] == 0 and sum(done) == len(labels) + 2 * counts[0] + 17 * counts[1]


def test_who_is_wrong_without_an_attack_is_not_attacked(fitted, digits, threat, monkeypatch):
    images, labels = digits
    wrong = np.arange(len(labels)) % 3 == 0
    labels = np.where(wrong, (labels + 1) % 10, labels)
    x_adv = pgd(fitted, images, labels, threat=threat, steps=4, step_size=0.05, seed=0)
    attacked, original = [], measure.craft

    def spy(attack, x, y, *rest):
        attacked.extend(y.numpy())
        return original(attack, x, y, *rest)

    monkeypatch.setattr(measure, "craft", spy)
    masks = survive_pgd(fitted, images, labels, threat=threat, test=PgdTest((4,), 0.05))
    np.testing.assert_array_equal(masks[None], ~wrong)
    np.testing.assert_array_equal(attacked, labels[~wrong])
    # Each example has the random start that it has among all.
    np.testing.assert_array_equal(masks[4], ~wrong & correct(fitted, x_adv, labels))
    assert not survive_pgd(
        fitted, images[wrong], labels[wrong], threat=threat, test=PgdTest((4,), 0.05)
    )[4].any()


def test_first_stage_is_plain_pgd(fitted, digits, threat):
    images, labels = digits
    masks = survive_pgd(fitted, images, labels, threat=threat, test=PgdTest((4,), 0.05))
    x_adv = pgd(fitted, images, labels, threat=threat, steps=4, step_size=0.05, seed=0)
    np.testing.assert_array_equal(masks[4], correct(fitted, x_adv, labels))


def test_survivors_do_not_depend_on_the_batch(fitted, digits, threat, monkeypatch):
    images, labels = digits
    masks = []
    for batch in (5, 16, 64):
        monkeypatch.setattr(measure, "fastest_batch", lambda run, examples, b=batch: b)
        found = survive_pgd(fitted, images, labels, threat=threat, test=PgdTest((2, 4), 0.05))
        masks.append(found)
    for steps in (2, 4):
        for other in masks[1:]:
            np.testing.assert_array_equal(masks[0][steps], other[steps])


def test_the_fastest_batch_is_the_last_that_paid(monkeypatch):
    seconds, now = {125: 2, 250: 2, 500: 2, 1000: 6, 2000: 1}, [0]
    monkeypatch.setattr(batch_size.time, "perf_counter", lambda: now[0])

    def run(size):
        now[0] += seconds[size]

    assert fastest_batch(run, 10_000) == 500
    assert fastest_batch(run, 300) == 250
    assert fastest_batch(run, 40) == 40


def test_bfloat16_crafts_nearly_the_same_but_never_scores(fitted, digits, threat, monkeypatch):
    images, labels = digits
    scored = []
    original = measure.correct

    def spy(defence, *arguments):
        scored.append(defence)
        return original(defence, *arguments)

    monkeypatch.setattr(measure, "correct", spy)
    test = PgdTest((10,), 0.05)
    exact = survive_pgd(fitted, images, labels, threat=threat, test=test)[10]
    rounded = survive_pgd(fitted, images, labels, threat=threat, test=test, precision="bfloat16")[
        10
    ]
    assert abs(exact.mean() - rounded.mean()) < 0.1
    assert scored and not any(isinstance(defence, FastCopy) for defence in scored)


def test_tests_out_of_order_are_refused():
    with pytest.raises(ValueError, match="rising numbers"):
        PgdTest((200, 40), 0.01)


def test_batches_side_by_side_keep_their_order_and_fail_as_one():
    met = threading.Barrier(BATCHES)

    def work(item):
        met.wait(timeout=30)  # passes only if two are at work at the same time
        return item**2

    assert list(map_threaded(work, [3, 1, 2, 5])) == [9, 1, 4, 25]
    assert list(map_threaded(lambda item: item, [7])) == [7]
    with pytest.raises(ZeroDivisionError):
        list(map_threaded(lambda item: 1 / item, [1, 0, 2]))


def test_crafted_images_are_those_of_one_batch_after_the_other(small_classifier, digits, threat):
    images, labels = digits

    def attack(x, y, picked, index):
        return pgd(small_classifier, x, y, threat=threat, steps=3, step_size=0.1, seed=index)

    found = craft(attack, tf.constant(images), tf.constant(labels), threat, batch=16)
    for index, begin in enumerate(range(0, 64, 16)):
        part = slice(begin, begin + 16)
        np.testing.assert_array_equal(found[part], attack(images[part], labels[part], None, index))
