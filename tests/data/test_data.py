import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_aaa import data


def test_mnist_is_embedded_and_split_as_documented():
    spec = data.image_spec("mnist")
    assert spec.shape == (28, 28, 1)
    assert spec.classes == 10
    assert spec.examples == {"train": 55_000, "validation": 5_000, "test": 10_000}


def test_images_are_floats_in_the_unit_range_with_their_labels():
    images, labels = data.first(data.load("mnist", "test"), 10)
    assert images.dtype == "float32" and labels.dtype == "int64"
    assert images.numpy().min() == 0.0 and images.numpy().max() == 1.0
    assert labels.numpy().tolist() == data.first(data.load("mnist", "test"), 10)[1].numpy().tolist()


@pytest.mark.slow
def test_validation_is_no_part_of_train():
    train, validation = (
        [image.tobytes() for images, _ in batches.as_numpy_iterator() for image in images]
        for batches in (data.load("mnist", split).batch(1000) for split in ("train", "validation"))
    )
    assert len(train) == 55_000 and len(validation) == 5_000
    assert not set(train) & set(validation)


def test_what_is_at_hand_is_told_without_a_download(tmp_path):
    assert data.at_hand("mnist") and data.at_hand("mnist", str(tmp_path))
    assert not data.at_hand("oxford_iiit_pet")


def test_how_images_are_stored():
    assert data.stored_as("mnist") == "png"


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="Did you mean 'mnist'"):
        data.load("mnistt", "train")
    with pytest.raises(ValueError, match="train, validation, test"):
        data.load("mnist", "testing")


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(data.DataNotFoundError, match="there is no folder /nowhere"):
        data.load("mnist", "test", data_dir="/nowhere")


def test_a_download_into_a_folder_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(data.DataNotFoundError, match=r"TFDS_DATA_DIR: .* there is no folder"):
        data.load("kmnist", "test")
    assert not (tmp_path / "nowhere").exists()


def test_the_first_examples_are_one_or_more():
    images, labels = data.first(data.load("mnist", "test"), 3)
    assert images.shape == (3, 28, 28, 1) and labels.shape == (3,)
    with pytest.raises(ValueError, match="examples: expected 1 or more, got 0"):
        data.first(data.load("mnist", "test"), 0)


def test_batches_depend_on_seed_and_step_alone():
    source = data.load("mnist", "validation").take(320).cache()

    def batches(**options):
        options = {"size": 320, "batch_size": 64, "seed": 3, "epoch": 1} | options
        return list(data.training_batches(source, **options).as_numpy_iterator())

    whole, again, resumed = batches(), batches(), batches(skip=2)
    assert len(whole) == 5
    for one, other in zip([*whole, *whole[2:]], [*again, *resumed], strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    for other in (batches(seed=4), batches(epoch=2), whole[1:]):
        for index in (0, 1, 2):  # images, labels, noise
            assert not np.array_equal(whole[0][index], other[0][index])
    noise = np.stack([batch[2] for batch in whole])
    for options in ({"shift": 2}, {"flip": True}):
        augmented, again = batches(**options), batches(**options, skip=1)
        np.testing.assert_array_equal(augmented[1][0], again[0][0])
        np.testing.assert_array_equal(augmented[0][1], whole[0][1])
        assert not np.array_equal(augmented[0][0], whole[0][0])
    shifted, still = (batches(seed=4, shift=s)[0][0] for s in (2, 0))
    for image, original in zip(shifted, still, strict=True):
        mirrored = np.pad(original, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(mirrored, image.shape)
        assert (windows == image).all(axis=(-1, -2, -3)).any()
    assert -1 <= noise.min() < -0.99 and 0.99 < noise.max() < 1
    assert abs(noise.mean()) < 0.01


def _prepare(folder, name, features, example):
    split = tf.data.Dataset.from_tensors(example).repeat(20)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": split, "test": split},
        data_dir=str(folder),
    )


@pytest.mark.parametrize("where", ["data_dir", "TFDS_DATA_DIR"])
def test_any_prepared_classification_set_works_by_its_name(tmp_path, monkeypatch, where):
    features = {
        "image": tfds.features.Image(shape=(6, 4, 3)),
        "label": tfds.features.ClassLabel(num_classes=7),
    }
    _prepare(tmp_path, "stripes", features, {"image": np.full((6, 4, 3), 51, np.uint8), "label": 5})
    if where == "TFDS_DATA_DIR":
        monkeypatch.setenv(where, str(tmp_path))
    folder = str(tmp_path) if where == "data_dir" else None
    spec = data.image_spec("stripes", folder)
    assert spec == data.ImageSpec((6, 4, 3), 7, {"train": 18, "validation": 2, "test": 20})
    images, labels = data.first(data.load("stripes", "train", folder), 18)
    np.testing.assert_allclose(images, 0.2, atol=1e-6)
    assert set(labels.numpy()) == {5}


def test_a_set_that_is_no_image_classification_is_refused(tmp_path):
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(num_classes=7),
    }
    _prepare(tmp_path, "ragged", features, {"image": np.zeros((6, 4, 3), np.uint8), "label": 5})
    with pytest.raises(ValueError, match="'ragged' is not image classification with a fixed"):
        data.load("ragged", "train", str(tmp_path))


@pytest.mark.slow  # TFDS tries the network for minutes before it gives up
def test_a_set_that_cannot_be_had_names_the_ways_out(tmp_path):
    script = (
        "from keras_aaa import data\n"
        f"try:\n    data.load('fashion_mnist', 'test', data_dir={str(tmp_path)!r})\n"
        "except data.DataNotFoundError as error:\n    print(error)\n"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert "Tried: data_dir=" in done.stdout
    assert all(way in done.stdout for way in ("(1)", "(2)", "(3)"))
