"""Each check on a defence that has the fault it looks for, and on one that has not."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.attacks import pgd
from keras_aaa.evaluation import correct, doubts, sanity
from keras_aaa.evaluation.sanity import CHECKS, Subject, report
from keras_aaa.models import build
from keras_aaa.threat_model import ThreatModel


@pytest.fixture(scope="module")
def subject(digits):
    """A classifier trained on noisy digits, so that it resists a little, honestly."""
    keras.utils.set_random_seed(0)
    images, labels = digits
    noisy = np.concatenate(
        [np.clip(images + np.random.default_rng(i).uniform(-0.1, 0.1, images.shape), 0, 1)
         for i in range(8)]
    )  # fmt: skip
    model = build("madry", width=8, dense=32)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(noisy.astype("float32"), np.tile(labels, 8), epochs=12, verbose=0)
    return Subject(model, images, labels, ThreatModel("linf", 0.1), 40, 0.01, base=model)


def evidence(check, subject, **changes):
    return check(dataclasses.replace(subject, **changes))


def doubt(check, subject, **changes):
    changed = dataclasses.replace(subject, **changes)
    return check(changed.defence, changed.images, changed.labels)


def test_an_honest_model_raises_no_warning(subject):
    found = {e.check: e.warning for e in report(subject)}
    assert len(found) == len(CHECKS) + len(doubts.CHECKS)
    suspicious = {check for check, warning in found.items() if warning}
    assert suspicious <= {"base_falls", "stronger_changes_nothing"}, found


def test_masked_gradients_are_noticed(subject):
    """Pixels rounded to steps of 0.05, so that the gradient is zero everywhere."""

    def stepped(images):
        return subject.defence(tf.round(images * 20) / 20)

    by_other = correct(
        subject.defence,
        pgd(
            subject.defence, subject.images, subject.labels,
            threat=subject.threat, steps=40, step_size=0.01,
        ),
        subject.labels,
    )  # fmt: skip
    zero = doubt(doubts.gradients_are_there, subject, defence=stepped)
    assert zero.warning and zero.figures["all_zero"] > 0.5
    beaten = evidence(
        sanity.black_box_never_wins, subject, defence=stepped, others={"transfer": by_other}
    )
    assert "transfer" in beaten.warning
    assert evidence(sanity.falls_to_zero_with_eps, subject, defence=stepped).warning
    # Confidence masks the gradient of the cross-entropy, but not that of the attacks' loss.
    inputs = keras.Input((28, 28, 1))
    steep = keras.Model(inputs, layers.Rescaling(1e4)(subject.defence(inputs)))
    assert not doubt(doubts.gradients_are_there, subject, defence=steep).warning
    assert not evidence(sanity.falls_to_zero_with_eps, subject, defence=steep).warning
    assert not doubt(doubts.gradients_are_there, subject).warning


def test_a_random_defence_is_noticed(subject):
    def random(images):
        return subject.defence(images + tf.random.normal(tf.shape(images), stddev=0.3))

    assert "EOT" in doubt(doubts.answers_repeat, subject, defence=random).warning
    assert doubt(doubts.answers_repeat, subject).warning is None


def test_probabilities_are_noticed(subject):
    inputs = keras.Input((28, 28, 1))
    softmax = keras.Model(inputs, layers.Softmax()(subject.defence(inputs)))
    assert doubt(doubts.outputs_are_logits, subject, defence=softmax).warning
    assert doubt(doubts.outputs_are_logits, subject).warning is None


def test_a_weak_attack_is_noticed(subject):
    weak = {"steps": 1, "step_size": 0.002}
    assert evidence(sanity.stronger_changes_nothing, subject, steps=2, step_size=0.01).warning
    assert evidence(sanity.iterative_beats_single_step, subject, **weak).warning
    assert evidence(sanity.base_falls, subject, **weak).warning


def test_without_an_undefended_classifier_there_is_nothing_to_say_of_it(subject):
    few = {"images": subject.images[:4], "labels": subject.labels[:4], "steps": 2}
    alone = dataclasses.replace(subject, base=None, **few)
    found = {e.check for e in report(alone)}
    assert len(found) == len(CHECKS) + len(doubts.CHECKS) - 1 and "base_falls" not in found
    with pytest.raises(ValueError, match="expected a subject with an undefended classifier"):
        sanity.base_falls(alone)


def test_the_right_eps_curve(subject):
    curve = sanity.falls_to_zero_with_eps(subject)
    assert curve.figures["eps"][0] == 0.0 and curve.figures["eps"][-1] == 1.0
    assert curve.figures["accuracy"][0] == 1.0 and curve.figures["accuracy"][-1] == 0.0
    assert tf.is_tensor(subject.images) is False  # the subject holds arrays, not tensors
