"""Our attacks against the Adversarial Robustness Toolbox's, on the zoo's classifier.

From the same number of steps or queries, ours must succeed at least as often, less one point. ART
has no FAB, and its momentum method refuses TensorFlow; targeted APGD-DLR stands beside its
untargeted DLR loss, the nearest it has.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from art.attacks import evasion
from art.estimators.classification import TensorFlowV2Classifier

import zoo
from keras_aaa import data
from keras_aaa.attacks import apgd, carlini_wagner, deepfool, fgsm, hop_skip_jump, pgd, square
from keras_aaa.attacks.losses import ranked_targets
from keras_aaa.threat_model import ThreatModel

EXAMPLES = 200
LINF, L2 = ThreatModel("linf", 0.1), ThreatModel("l2", 100.0)
WIDER = ThreatModel("linf", 0.15)  # what 200 queries need
BUDGET = {"eps": LINF.eps, "verbose": False, "batch_size": EXAMPLES}


@pytest.fixture(scope="module")
def subject():
    """The natural classifier, 200 test digits that it knows, and ART's view of it."""
    model = zoo.load("mnist_madry")
    images, labels = data.first(data.load("mnist", "test"), EXAMPLES + 20)
    known = np.flatnonzero(model(images).numpy().argmax(1) == labels.numpy())[:EXAMPLES]
    theirs = TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=(28, 28, 1),
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    return model, images.numpy()[known], labels.numpy()[known], theirs


def _worst_target(model, images, labels, steps: int) -> np.ndarray:
    """Targeted APGD-DLR over all nine targets, as AutoAttack runs it."""
    logits, best = model(images).numpy(), images.copy()
    for rank in range(1, 10):
        targets = ranked_targets(logits, labels, rank).numpy()
        found = apgd(
            model, images, labels, threat=LINF, steps=steps, loss="targeted_dlr", targets=targets
        ).numpy()
        fell = model(found).numpy().argmax(1) != labels
        best[fell] = found[fell]
    return best


APGD = {**BUDGET, "eps_step": 2 * LINF.eps, "nb_random_init": 1, "max_iter": 20}
# name -> (ball, ours, theirs), from the same number of steps or queries
PAIRS: dict[str, tuple[ThreatModel, Callable, Callable]] = {
    "fgsm": (
        LINF,
        partial(fgsm, threat=LINF),
        lambda c: evasion.FastGradientMethod(c, eps=LINF.eps, batch_size=EXAMPLES),
    ),
    "pgd": (
        LINF,
        partial(pgd, threat=LINF, steps=10, step_size=0.025),
        lambda c: evasion.ProjectedGradientDescent(
            c, eps_step=0.025, max_iter=10, num_random_init=1, **BUDGET
        ),
    ),
    "apgd_ce": (
        LINF,
        partial(apgd, threat=LINF, steps=20),
        lambda c: evasion.AutoProjectedGradientDescent(c, loss_type="cross_entropy", **APGD),
    ),
    "apgd_t": (
        LINF,
        partial(_worst_target, steps=20),
        lambda c: evasion.AutoProjectedGradientDescent(
            c, loss_type="difference_logits_ratio", **APGD
        ),
    ),
    "square": (
        WIDER,
        partial(square, threat=WIDER, queries=200),
        lambda c: evasion.SquareAttack(c, max_iter=200, **{**BUDGET, "eps": WIDER.eps}),
    ),
}


# ART's own attacks take a minute each.
LONG = ("apgd_t", "square")
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in PAIRS]


@pytest.mark.parametrize("name", NAMES)
def test_success_within_the_ball_is_at_least_theirs_less_a_point(name, subject):
    model, images, labels, classifier = subject
    threat, ours, theirs = PAIRS[name]
    np.random.seed(0)  # ART's source of randomness
    found = {
        "ours": np.asarray(ours(model, images, labels)),
        "theirs": theirs(classifier).generate(images, labels),
    }
    success = {}
    for who, x_adv in found.items():
        assert threat.contains(x_adv, images).all(), f"{who}: outside the ball"
        success[who] = (model(x_adv).numpy().argmax(1) != labels).mean()
    assert success["theirs"] > 0.05, "the comparison needs an attack that works"
    assert success["ours"] >= success["theirs"] - 0.01, success


CW = {"learning_rate": 0.1, "confidence": 0.0}
# name -> (ours, theirs, number of examples): attacks that look for the nearest boundary
NEAREST: dict[str, tuple[Callable, Callable, int]] = {
    "deepfool": (
        partial(deepfool, threat=L2, steps=50, overshoot=0.02),
        lambda c: evasion.DeepFool(c, max_iter=50, epsilon=0.02, batch_size=100, verbose=False),
        100,
    ),
    "carlini_wagner": (
        partial(carlini_wagner, threat=L2, steps=50, searches=4, first_constant=1.0, **CW),
        lambda c: evasion.CarliniL2Method(
            c,
            max_iter=50,
            binary_search_steps=4,
            initial_const=1.0,
            batch_size=20,
            verbose=False,
            **CW,
        ),
        20,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEAREST)
def test_nearest_boundaries_are_no_farther_than_theirs(name, subject):
    model, images, labels, classifier = subject
    ours, theirs, count = NEAREST[name]
    images, labels = images[:count], labels[:count]
    found = {
        "ours": np.asarray(ours(model, images, labels)),
        "theirs": theirs(classifier).generate(images, labels),
    }
    success, distance = {}, {}
    for who, x_adv in found.items():
        fell = model(x_adv).numpy().argmax(1) != labels
        success[who] = fell.mean()
        distance[who] = np.median(np.linalg.norm((x_adv - images).reshape(count, -1), axis=1)[fell])
    assert success["theirs"] > 0.5, "the comparison needs an attack that works"
    assert success["ours"] >= success["theirs"] - 0.01, success
    assert distance["ours"] <= 1.05 * distance["theirs"], distance


@pytest.mark.slow
def test_hop_skip_jump_is_no_farther_than_theirs_after_as_many_queries(subject):
    model, images, labels, classifier = subject
    images, labels, asked = images[:20], labels[:20], tf.Variable(0)

    def counted(x):
        asked.assign_add(tf.shape(x)[0])
        return model(x)

    nearest = hop_skip_jump(counted, images, labels, threat=L2, iterations=15).numpy()
    ours = int(asked.numpy())
    predict, asked_art = classifier.predict, []
    classifier.predict = lambda x, **options: asked_art.append(len(x)) or predict(x, **options)
    try:
        np.random.seed(0)
        theirs = evasion.HopSkipJump(classifier, norm=2, max_iter=16, verbose=False).generate(
            images
        )
    finally:
        classifier.predict = predict
    assert 0.8 * sum(asked_art) <= ours <= sum(asked_art), (ours, sum(asked_art))
    distance = {}
    for who, x_adv in (("ours", nearest), ("theirs", theirs)):
        assert (model(x_adv).numpy().argmax(1) != labels).mean() >= 0.9, who
        distance[who] = np.median(np.linalg.norm((x_adv - images).reshape(20, -1), axis=1))
    assert distance["ours"] <= 1.05 * distance["theirs"], distance
