"""Arguments of every kind: each call works, or says in one line which argument is wrong."""

import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._engine.preamble import norms_of
from keras_aaa.evaluation import AutoAttack, PgdTest, autoattack, correct, survive_pgd
from keras_aaa.evaluation.corruptions import survive_corruptions
from keras_aaa.models import ARCHITECTURES, build, defend
from keras_aaa.norms import NORMS
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Recipe
from tests.helpers.small_attacks import SETTINGS

CLASSES = 4
fuzz = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

shapes = st.sampled_from([(0, 5, 5, 1), (1, 5, 5, 1), (3, 5, 5, 1), (3, 7, 4, 3), (2, 1, 1, 1)])
broken_shapes = st.sampled_from([(), (3,), (3, 5), (3, 5, 5), (1, 3, 5, 5, 1)])
types = st.sampled_from(["float16", "float32", "float64"])
broken_types = st.sampled_from(["int32", "uint8", "bool", "complex64"])
broken_values = st.sampled_from([math.nan, math.inf, -0.01, 1.5, 255.0])


def logits_of(images):
    """Logits of images of any size; smooth, and not the same for all."""
    flat = tf.reduce_mean(images, axis=(1, 2, 3))
    return tf.stack([flat, 1 - flat, tf.square(flat) * 2, 0.4 + 0 * flat], axis=-1)


@st.composite
def batches(draw):
    """Images, labels and what is wrong with them: "images", "labels" or nothing."""
    wrong = draw(st.sampled_from([None, "shape", "type", "value", "label_type", "label_count"]))
    shape = draw(broken_shapes if wrong == "shape" else shapes)
    images = np.random.default_rng(draw(st.integers(0, 9))).random(shape)
    if wrong == "value" and images.size:
        images.flat[draw(st.integers(0, images.size - 1))] = draw(broken_values)
    elif wrong == "value":
        wrong = None
    images = np.asarray(images).astype(draw(broken_types if wrong == "type" else types))
    count = (shape[0] if shape else 1) + (wrong == "label_count")
    labels = np.arange(count) % CLASSES
    labels = labels.astype("float32" if wrong == "label_type" else draw(st.sampled_from("bhil")))
    where = {None: None, "label_type": "labels", "label_count": "labels"}.get(wrong, "images")
    return images, labels, where


def call(wrong: str | None, run):
    """Run; expect an error that names the wrong argument, or a result; return the result."""
    if wrong is None:
        return run()
    with pytest.raises((TypeError, ValueError), match=wrong):
        run()
    return None


def targeted(name: str, labels) -> dict:
    return {"targets": (np.asarray(labels) + 1) % CLASSES} if name == "fab" else {}


@pytest.mark.parametrize("name", ATTACKS)
@given(batch=batches(), norm=st.sampled_from([*NORMS]), eps=st.sampled_from([0.0, 1e-4, 0.3, 1.0]))
@fuzz
def test_attacks(name, batch, norm, eps):
    images, labels, wrong = batch
    norms = norms_of(ATTACKS[name])
    threat = ThreatModel(norm if norm in norms else norms[0], eps)

    def run():
        extra = targeted(name, labels) | SETTINGS[name]
        return ATTACKS[name](logits_of, images, labels, threat=threat, **extra).numpy()

    x_adv = call(wrong, run)
    if x_adv is not None:
        assert x_adv.shape == images.shape and x_adv.dtype == np.float32
        assert threat.contains(x_adv, images.astype("float32")).all()


@pytest.mark.parametrize("name", ATTACKS)
@given(value=st.sampled_from([-1, 0, math.nan, math.inf, "3", None]), which=st.integers(0, 9))
@fuzz
def test_settings_of_attacks(name, value, which):
    given_settings = SETTINGS[name]
    if not given_settings:
        return
    setting = sorted(given_settings)[which % len(given_settings)]
    images, labels = np.full((2, 5, 5, 1), 0.5, "float32"), np.array([0, 1])
    threat = ThreatModel(norms_of(ATTACKS[name])[0], 0.1)
    changed = given_settings | {setting: value} | targeted(name, labels)
    try:
        x_adv = ATTACKS[name](logits_of, images, labels, threat=threat, **changed)
    except (TypeError, ValueError) as error:
        assert setting in str(error), error
    else:
        assert threat.contains(x_adv.numpy(), images).all()


@given(batch=batches())
@fuzz
def test_evaluation(batch):
    images, labels, wrong = batch
    standing = call(wrong, lambda: correct(logits_of, images, labels))
    attack = AutoAttack(steps=2, targets=2, queries=2)
    threat = ThreatModel("linf", 0.05)
    found = call(
        wrong, lambda: autoattack(logits_of, images, labels, threat=threat, settings=attack)
    )
    too_small = "images" if wrong is None and min(images.shape[1:3]) < 4 else wrong
    corrupted = call(too_small, lambda: dict(survive_corruptions(logits_of, images, labels)))
    if corrupted is not None:
        assert all(mask.shape[-1] == len(labels) for mask in corrupted.values())
    if wrong is None:
        assert standing.shape == labels.shape
        assert (standing >= found["square"]).all()  # who falls without an attack falls under one
        np.testing.assert_array_equal(standing, found["clean"])
        assert threat.contains(found["x_adv"], images.astype("float32")).all()


@given(
    count=st.integers(0, 5),
    steps=st.lists(st.integers(-1, 3), max_size=3),
    step_size=st.sampled_from([0.1, 0.0, -1.0, math.nan]),
)
@fuzz
def test_pgd_test(count, steps, step_size):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(CLASSES))
    images, labels = np.random.default_rng(0).random((count, 4, 4, 1)), np.arange(count) % CLASSES
    try:
        test = PgdTest(tuple(steps), step_size)
        survived = survive_pgd(model, images, labels, threat=ThreatModel("linf", 0.1), test=test)
    except ValueError as error:
        assert "step" in str(error), error
        assert not steps or steps != sorted(set(steps)) or steps[0] < 1 or not step_size > 0
    else:
        masks = [survived[n] for n in steps]
        assert all(mask.shape == (count,) for mask in masks)
        assert all((more <= less).all() for less, more in itertools.pairwise(masks))


@given(
    name=st.sampled_from(["nan", "l3", "linf", "", "l2"]),
    eps=st.one_of(st.floats(), st.sampled_from(["0.3", None])),
)
@fuzz
def test_threat_models(name, eps):
    largest = 1.0 if name == "linf" else math.inf
    if name in NORMS and isinstance(eps, float) and math.isfinite(eps) and 0 <= eps <= largest:
        assert ThreatModel(name, eps).eps == eps
    else:
        with pytest.raises((TypeError, ValueError), match=r"norm|eps"):
            ThreatModel(name, eps)


@given(
    field=st.sampled_from(dataclasses.fields(Recipe)),
    value=st.one_of(
        st.integers(), st.floats(), st.text(max_size=3), st.none(), st.booleans(), st.tuples()
    ),
)
@fuzz
def test_recipes(field, value):
    try:
        recipe = Recipe(**{"epochs": 1, field.name: value})
    except (TypeError, ValueError) as error:
        assert field.name.replace("_", " ") in str(error).replace("_", " ").replace("-", " "), error
    else:
        assert getattr(recipe, field.name) == value
        if "range" in field.metadata:
            low, high = field.metadata["range"]
            assert low <= value <= high


@given(
    side=st.integers(1, 9), channels=st.integers(1, 3), out=st.integers(1, 3), units=st.integers(1)
)
@fuzz
def test_defend(side, channels, out, units):
    autoencoder = keras.Sequential([keras.Input((side, side, channels))])
    autoencoder.add(keras.layers.Conv2D(out, 1))
    classifier = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    classifier.add(keras.layers.Dense(1 + units % 5))
    if out != channels:
        with pytest.raises(ValueError, match="autoencoder"):
            defend(autoencoder, classifier)
    elif (side, channels) != (4, 1):
        with pytest.raises(ValueError, match="classifier"):
            defend(autoencoder, classifier)
    else:
        assert defend(autoencoder, classifier).output_shape == (None, 1 + units % 5)
    for wrong in (None, 3, "model", np.zeros(3)):
        with pytest.raises(TypeError, match="classifier"):
            defend(autoencoder, wrong)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(0, 0, 1), (32, 32, 0), (-32, 32, 3), (32, 32), ()])
def test_architectures_refuse_sizes_they_cannot_take(name, shape):
    with pytest.raises(ValueError, match="input_shape: expected"):
        build(name, input_shape=shape)


@given(name=st.text(max_size=12), version=st.one_of(st.none(), st.integers(), st.text(max_size=3)))
@fuzz
def test_the_zoo_knows_its_names(name, version):
    for function in (zoo.load, zoo.info):
        with pytest.raises((TypeError, ValueError), match=r"model|name|version"):
            function(name, version)
