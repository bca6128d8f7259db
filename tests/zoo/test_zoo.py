import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import zoo
from keras_aaa.models import ModelConfig, build, defend
from keras_aaa.models.float16_kernels import round_kernels


def card(**changes):
    fields = {
        "name": "aaa_mnist_test",
        "version": 1,
        "kind": "autoencoder",
        "dataset": "mnist",
        "model": ModelConfig("conv_autoencoder", {"width": 2}, "aaa_mnist_test"),
        "classifier": ModelConfig("madry", {"width": 4, "dense": 16}, "mnist_small"),
        "threat": {"norm": "linf", "eps": 0.3},
        "training": {},
        "provenance": {},
        "parameters": 1,
        "measured": (
            zoo.Measurement(9, 10, defended="mnist_small"),
            zoo.Measurement(7, 10, "pgd", 40, 0.01, "mnist_small", 0.95),
            zoo.Measurement(2, 10, "pgd", 40, 0.01, "mnist_other"),
        ),
    }
    return zoo.Card(**(fields | changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A zoo with one autoencoder, and the two models in it, batch statistics shaken."""
    tmp_path = tmp_path_factory.mktemp("zoo")
    random = np.random.default_rng(0)
    autoencoder = build("conv_autoencoder", width=2)
    classifier = build("madry", width=4, dense=16)
    for model in (autoencoder, classifier):
        model.set_weights([random.random(w.shape, np.float32) for w in model.get_weights()])
    zoo.save(autoencoder, "aaa_mnist_test", card(), tmp_path, classifier=classifier)
    return tmp_path, autoencoder, classifier


def test_load_restores_every_array_and_the_outputs(saved, digits):
    root, autoencoder, classifier = saved
    loaded = zoo.load("aaa_mnist_test", root=root)
    for old, new in zip(autoencoder.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(autoencoder(digits[0]), loaded(digits[0]))
    inside = zoo.artefact.read(root / "aaa_mnist_test" / "1", part="classifier")
    for old, new in zip(classifier.get_weights(), inside.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_every_weight_is_stored_once(saved):
    root, autoencoder, classifier = saved
    stored = root / "aaa_mnist_test" / "1" / "variables" / "variables.data-00000-of-00001"
    weights = sum(w.nbytes for m in (autoencoder, classifier) for w in m.get_weights())
    assert weights < stored.stat().st_size < 1.1 * weights + 50_000


def test_rounded_kernels_are_stored_in_half_the_bytes_and_come_back(tmp_path, digits):
    autoencoder, classifier = build("conv_dense_autoencoder", latent=64), build("madry", width=4)
    for model in (autoencoder, classifier):
        round_kernels(model)
    zoo.save(
        autoencoder,
        "aaa_mnist_test",
        card(
            model=ModelConfig("conv_dense_autoencoder", {"latent": 64}, "aaa_mnist_test"),
            classifier=ModelConfig("madry", {"width": 4}, "mnist_small"),
        ),
        tmp_path,
        classifier=classifier,
    )
    folder = tmp_path / "aaa_mnist_test" / "1"
    stored = (folder / "variables" / "variables.data-00000-of-00001").stat().st_size
    weights = sum(w.nbytes for m in (autoencoder, classifier) for w in m.get_weights())
    assert stored < 0.52 * weights
    loaded = zoo.load("aaa_mnist_test", root=tmp_path)
    for old, new in zip(autoencoder.get_weights(), loaded.get_weights(), strict=True):
        assert new.dtype == np.float32
        np.testing.assert_array_equal(old, new)
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    answer = served(images=tf.constant(digits[0]))
    np.testing.assert_allclose(
        answer["reconstruction"], autoencoder(digits[0]), rtol=1e-5, atol=1e-6
    )


def test_a_model_with_dropout_comes_back(tmp_path):
    sizes = {"input_shape": (32, 32, 3), "width": 2, "dense": 8}
    model = build("dnn", **sizes)
    described = card(
        name="dnn_test",
        kind="classifier",
        model=ModelConfig("dnn", sizes, "dnn_test"),
        classifier=None,
        measured=(),
    )
    zoo.save(model, "dnn_test", described, tmp_path)
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    expected = model(images).numpy()
    loaded = zoo.load("dnn_test", root=tmp_path)
    np.testing.assert_array_equal(expected, loaded(images))
    served = tf.saved_model.load(str(tmp_path / "dnn_test" / "1")).signatures["serving_default"]
    logits = served(images=tf.constant(images))["logits"]
    np.testing.assert_allclose(expected, logits, rtol=1e-5, atol=1e-6)


def test_trainable_only_if_asked(saved):
    assert not zoo.load("aaa_mnist_test", root=saved[0]).trainable_variables
    assert zoo.load("aaa_mnist_test", root=saved[0], trainable=True).trainable_variables


def test_signatures_answer_as_the_models_do(saved, digits):
    root, autoencoder, classifier = saved
    served = tf.saved_model.load(str(root / "aaa_mnist_test" / "1"))
    for images in (digits[0][:1], digits[0][:5]):
        answer = served.signatures["serving_default"](images=tf.constant(images))
        logits = defend(autoencoder, classifier)(images)
        np.testing.assert_allclose(answer["logits"], logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(logits), atol=1e-5)
        np.testing.assert_array_equal(answer["label"], np.argmax(logits, axis=-1))
        reconstruction = served.signatures["reconstruct"](images=tf.constant(images))
        for found in (answer, reconstruction):
            np.testing.assert_allclose(
                found["reconstruction"], autoencoder(images), rtol=1e-5, atol=1e-6
            )


def test_cards_survive_json_and_answer_questions(saved):
    known = zoo.info("aaa_mnist_test", root=saved[0])
    assert known == zoo.Card.from_json(json.loads(json.dumps(known.to_json())))
    assert known.clean_accuracy == 0.9
    assert known.robust_accuracy == 0.7  # the source classifier's, not the transfer's
    assert known.accuracy("pgd40", "mnist_other") == 0.2
    with pytest.raises(KeyError, match="pgd200"):
        known.accuracy("pgd200")
    assert set(known.files) >= {"saved_model.pb", "variables/variables.index"}


def test_a_changed_file_is_refused_by_name(saved, tmp_path):
    root = shutil.copytree(saved[0], tmp_path / "zoo")
    file = root / "aaa_mnist_test" / "1" / "variables" / "variables.index"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(zoo.IntegrityError, match=r"variables\.index: expected sha256 .* found"):
        zoo.load("aaa_mnist_test", root=root)
    file.unlink()
    with pytest.raises(zoo.IntegrityError, match="found none"):
        zoo.load("aaa_mnist_test", root=root)


def test_wrong_names_and_versions(saved):
    root = saved[0]
    with pytest.raises(ValueError, match="Did you mean 'aaa_mnist_test'"):
        zoo.load("aaa_mnist_tset", root=root)
    with pytest.raises(ValueError, match=r"no version 7\. Known: 1"):
        zoo.load("aaa_mnist_test", 7, root=root)
    for name in ("../secret", "a/b", "", "A", "a..b", "x" * 99):
        with pytest.raises(ValueError, match="Unknown model"):
            zoo.load(name, root=root)
    for version in ("../1", 0, -1, "1/..", True):
        with pytest.raises(ValueError, match="version: expected"):
            zoo.load("aaa_mnist_test", version, root=root)


def test_newer_and_broken_cards_are_refused():
    data = card().to_json()
    with pytest.raises(ValueError, match="schema 2; this version of the zoo reads up to schema 1"):
        zoo.Card.from_json(data | {"schema": 2})
    with pytest.raises(ValueError, match="not a valid card"):
        zoo.Card.from_json({k: v for k, v in data.items() if k != "measured"})
    with pytest.raises(ValueError, match="not a valid card"):
        zoo.Card.from_json(data | {"surprise": 1})


def test_saving_refuses_a_published_version_and_a_wrong_card(saved):
    root, autoencoder, classifier = saved
    with pytest.raises(ValueError, match="never changed"):
        zoo.save(autoencoder, "aaa_mnist_test", card(), root, classifier=classifier)
    second = card(version=2)
    with pytest.raises(ValueError, match="expected one if the card describes one"):
        zoo.save(autoencoder, "aaa_mnist_test", second, root)
    wider = dataclasses.replace(
        second, model=ModelConfig("conv_autoencoder", {"width": 4}, "aaa_mnist_test")
    )
    with pytest.raises(ValueError, match="does not describe"):
        zoo.save(autoencoder, "aaa_mnist_test", wider, root, classifier=classifier)
    assert [p.name for p in (root / "aaa_mnist_test").iterdir()] == ["1"]


def test_list_by_dataset_kind_and_threat(saved):
    root = saved[0]
    assert zoo.list_models(root=root) == ["aaa_mnist_test"]
    assert zoo.list_models("mnist", "autoencoder", "linf", root=root) == ["aaa_mnist_test"]
    assert zoo.list_models("cifar10", root=root) == []
    assert zoo.list_models(kind="classifier", root=root) == []
    assert zoo.list_models(threat="l2", root=root) == []


def test_a_model_trained_anew_is_the_version_after_the_published_one():
    assert zoo.versions.next_version("mnist_fc") == zoo.info("mnist_fc").version + 1
    assert zoo.versions.next_version("mnist_never_seen") == 1
