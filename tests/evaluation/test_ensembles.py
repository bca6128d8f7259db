"""The versions of AutoAttack: what each runs, for any number of classes and random defences."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.attacks import apgd
from keras_aaa.evaluation import AutoAttack, autoattack, correct
from keras_aaa.evaluation._ensembles import VERSIONS, ensemble, fitting
from keras_aaa.threat_model import ThreatModel

BALLS = [ThreatModel("linf", 0.05), ThreatModel("l2", 0.3), ThreatModel("l1", 1.5)]


def linear(classes: int, scale: float = 1.0):
    w = np.random.default_rng(0).normal(size=(25, classes)).astype(np.float32)

    def model(x):
        return scale * (tf.reshape(x - 0.5, (-1, 25)) @ w)

    return model


def examples(model):
    images = np.random.default_rng(1).random((12, 5, 5, 1)).astype(np.float32)
    return images, model(images).numpy().argmax(1)


def test_the_published_numbers():
    """Croce and Hein 2020, section 6, and the reference implementation's set_version."""

    def shown(version, norm):
        stages = VERSIONS[version][norm]
        return {name: (stage.targets, dict(stage.settings)) for name, stage in stages.items()}

    targeted = {"loss": "targeted_dlr"}
    assert shown("standard", "l2") == {
        "apgd_ce": (0, {"loss": "ce"}),
        "apgd_t": (9, targeted),
        "fab_t": (9, {}),
        "square": (0, {}),
    }
    in_l1 = {"apgd_ce": (0, {"loss": "ce", "restarts": 5}), "apgd_t": (5, targeted)}
    assert shown("standard", "l1") == shown("standard", "linf") | in_l1
    assert shown("plus", "linf") == {
        "apgd_ce": (0, {"loss": "ce", "restarts": 5}),
        "apgd_dlr": (0, {"loss": "dlr", "restarts": 5}),
        "fab": (0, {"restarts": 5}),
        "square": (0, {}),
        "apgd_t": (9, targeted),
        "fab_t": (9, {}),
    }
    assert shown("rand", "linf") == {
        "apgd_ce": (0, {"loss": "ce", "draws": 20}),
        "apgd_dlr": (0, {"loss": "dlr", "draws": 20}),
    }
    settings = AutoAttack()
    assert (settings.steps, settings.targets, settings.queries) == (100, 9, 5000)


def test_losses_and_targets_fit_the_classes():
    for classes, dlr, targeted, targets in (
        (2, "margin", "targeted_margin", 1),
        (3, "dlr", "targeted_margin", 2),
        (4, "dlr", "targeted_dlr", 3),
        (100, "dlr", "targeted_dlr", 9),
    ):
        stages, messages = fitting(ensemble("plus", "linf"), classes)
        assert stages["apgd_dlr"].settings["loss"] == dlr
        assert stages["apgd_t"].settings["loss"] == targeted
        assert stages["apgd_t"].targets == stages["fab_t"].targets == targets
        assert len(messages) == (classes < 3) + (classes < 4)


@pytest.mark.parametrize(
    "version, norm, classes",
    [
        ("standard", 1, 2),
        ("standard", 2, 5),
        ("plus", 0, 5),
        pytest.param("plus", 2, 2, marks=pytest.mark.slow),
        ("rand", 1, 2),
    ],
)
def test_the_versions_run(version, norm, classes):
    threat = BALLS[norm]
    model = linear(classes)
    images, labels = examples(model)
    settings = AutoAttack(version=version, steps=4, targets=2, queries=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = autoattack(model, images, labels, threat=threat, settings=settings)
    said = [str(w.message) for w in caught if "AutoAttack" in str(w.message)]
    names = VERSIONS[version][threat.norm]
    assert len(said) == (0 if classes == 5 else sum("apgd_ce" < n < "apgd_u" for n in names))
    assert list(found) == ["clean", *names, "x_adv"]
    counts = [found[name].sum() for name in ("clean", *names)]
    assert counts == sorted(counts, reverse=True) and counts[-1] < counts[0]
    last = [*names][-1]
    np.testing.assert_array_equal(correct(model, found["x_adv"], labels), found[last])
    assert threat.contains(found["x_adv"], images).all()


def test_a_list_of_attacks_and_its_resumed_run(tmp_path):
    model = linear(5)
    images, labels = examples(model)
    settings = AutoAttack(attacks=("square", "apgd_dlr"), steps=3, queries=20)
    run = {"threat": BALLS[1], "settings": settings, "workdir": tmp_path}
    found = autoattack(model, images, labels, **run)
    assert list(found) == ["clean", "square", "apgd_dlr", "x_adv"]
    again = autoattack(model, images, labels, **run)
    for name in found:
        np.testing.assert_array_equal(found[name], again[name])
    with pytest.raises(ValueError, match="holds another run: settings"):
        other = AutoAttack(attacks=("square",), steps=3, queries=20)
        autoattack(model, images, labels, **run | {"settings": other})
    for bad in (("squares",), ("fab", "fab")):
        with pytest.raises(ValueError, match=r"Did you mean 'square'|expected each once"):
            AutoAttack(attacks=bad)
    with pytest.raises(ValueError, match="Unknown version of AutoAttack"):
        AutoAttack(version="random")


@pytest.mark.parametrize("threat, classes", [(BALLS[0], 5), (BALLS[1], 2)])
def test_saturated_models_fall_as_others(threat, classes):
    settings = AutoAttack(steps=10, queries=10)
    survive = {}
    for scale in (1.0, 1e6):
        model = linear(classes, scale)
        images, labels = examples(model)
        found = autoattack(model, images, labels, threat=threat, settings=settings)
        survive[scale] = found["square"]
    assert 0 < survive[1.0].sum() < 12
    assert survive[1e6].sum() <= survive[1.0].sum()


def test_a_random_defence_is_said_and_attacked_by_its_mean():
    base = linear(3)

    def model(x):
        return base(x + tf.random.normal(tf.shape(x), stddev=0.3))

    images, labels = examples(base)
    threat, few = BALLS[0], AutoAttack(steps=1, targets=1, queries=1)
    with pytest.warns(UserWarning, match="the defence is random"):
        autoattack(model, images, labels, threat=threat, settings=few)
    # The mean gradient of a linear model is the gradient without noise.
    wide = ThreatModel("l2", 0.2)
    exact, mean = (
        apgd(m, images, labels, threat=wide, steps=20, loss="margin", draws=d).numpy()
        for m, d in ((base, 1), (model, 20))
    )
    moved = [(x - images).reshape(len(x), -1) for x in (exact, mean)]
    cosine = (moved[0] * moved[1]).sum(1) / np.prod([np.linalg.norm(m, axis=1) for m in moved], 0)
    assert np.median(cosine) > 0.9


def test_one_class_is_refused():
    images = np.zeros((2, 5, 5, 1), np.float32)
    with pytest.raises(ValueError, match="expected two classes or more"):
        autoattack(linear(1), images, np.zeros(2, int), threat=BALLS[0])
