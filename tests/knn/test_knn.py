"""kNN reconstruction against a search written out in NumPy."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa import data
from keras_aaa.attacks import pgd
from keras_aaa.knn import (
    build_bank,
    exact_search,
    knn_attackable,
    knn_defend,
    knn_reconstruction,
    rank,
    reduce_bank,
)
from keras_aaa.models import build
from keras_aaa.models.surgery import decoder, encoder
from keras_aaa.serving import export_classifier

EXAMPLES, K = 300, 5


@pytest.fixture
def bank(small_autoencoder):
    train = data.load("mnist", "train").map(lambda image, label: image)
    return build_bank(small_autoencoder, train, EXAMPLES, "mnist")


def latents_of(autoencoder, images):
    return encoder(autoencoder)(images).numpy()


def by_hand(bank, queries, k):
    latents = bank.latents.numpy().astype(np.float64)
    distances = np.linalg.norm(latents[None] - queries[:, None], axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def test_the_bank_holds_the_training_latents(small_autoencoder, bank):
    images, _ = data.first(data.load("mnist", "train"), 10)
    expected = latents_of(small_autoencoder, images)
    np.testing.assert_allclose(bank.latents[:10], expected, atol=1e-5)
    assert bank.latents.shape == (EXAMPLES, 8) and bank.shape == (8,) and bank.dataset == "mnist"


def test_a_softmax_is_taken_off_with_one_warning(small_autoencoder, bank, digits):
    flat = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    ending = keras.Model(flat.inputs, keras.layers.Softmax()(flat.outputs[0]))
    with pytest.warns(UserWarning, match="softmax") as warned:
        defended = knn_defend(small_autoencoder, ending, bank, k=K)
    assert len(warned) == 1
    expected = knn_defend(small_autoencoder, flat, bank, k=K)(digits[0][:4])
    np.testing.assert_array_equal(defended(digits[0][:4]), expected)


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_bank_is_in_memory_once(digits):
    images = keras.Input((28, 28, 1))
    latent = keras.layers.UpSampling2D(8, name="latent")(images)
    wide = keras.Model(images, keras.layers.AveragePooling2D(8)(latent))
    repeated = tf.data.Dataset.from_tensors(digits[0][0]).repeat()
    build_bank(wide, repeated, 2, "mnist")  # compiles, which takes memory of its own
    before = resident()
    bank = build_bank(wide, repeated, 2000, "mnist")
    size = 4 * 2000 * 28 * 28 * 64
    assert bank.latents.shape == (2000, 28 * 28 * 64)
    assert resident() - before < 1.5 * size


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory", [1e9, 20_000.0])
@pytest.mark.parametrize("resident", [False, True])
def test_exact_search_is_exact(precision, memory, resident, small_autoencoder, bank, digits):
    queries = latents_of(small_autoencoder, digits[0])
    found = exact_search(bank, precision, memory, resident)(tf.constant(queries), K)
    np.testing.assert_array_equal(found, by_hand(bank, queries, K))


def test_ranking_passes_over_what_is_none(small_autoencoder, bank, digits):
    queries = latents_of(small_autoencoder, digits[0][:4])
    nearest = by_hand(bank, queries, 6)
    candidates = np.concatenate([np.full((4, 2), -1), nearest[:, ::-1]], axis=1)
    found = rank(bank, tf.constant(queries), tf.constant(candidates, tf.int32), 3)
    np.testing.assert_array_equal(found, nearest[:, :3])


def test_the_defence_decodes_the_mean(small_autoencoder, small_classifier, bank, digits):
    images = digits[0][:20]
    nearest = by_hand(bank, latents_of(small_autoencoder, images), K)
    means = bank.latents.numpy()[nearest].mean(axis=1)
    expected = small_classifier(decoder(small_autoencoder)(means))
    defence = knn_defend(small_autoencoder, small_classifier, bank, K)
    np.testing.assert_allclose(defence(images), expected, atol=1e-4)
    one = knn_defend(small_autoencoder, small_classifier, bank, EXAMPLES)
    same = np.ptp(one(images).numpy(), axis=0)  # of all latents there is one mean
    np.testing.assert_allclose(same, 0, atol=1e-5)


def test_it_exports_with_its_bank(small_autoencoder, small_classifier, bank, digits, tmp_path):
    defence = knn_defend(small_autoencoder, small_classifier, bank, K)
    export_classifier(defence, tmp_path)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    for count in (1, 7):
        answer = served(images=tf.constant(digits[0][:count]))
        np.testing.assert_allclose(answer["logits"], defence(digits[0][:count]), atol=1e-4)


@pytest.mark.parametrize("surrogate", ["identity", "soft"])
def test_attacks_find_a_gradient(
    surrogate, small_autoencoder, small_classifier, bank, digits, threat
):
    images, labels = digits[0][:16], digits[1][:16]
    reconstruction = knn_reconstruction(small_autoencoder, bank, K)
    attackable = knn_attackable(small_autoencoder, small_classifier, reconstruction, surrogate)
    plain = knn_defend(small_autoencoder, small_classifier, bank, K)
    np.testing.assert_allclose(attackable(tf.constant(images)), plain(images), atol=1e-4)

    def loss(defence, x):
        ce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return float(ce(labels, defence(tf.constant(x))))

    x_adv = pgd(attackable, images, labels, threat=threat, steps=10, step_size=0.05)
    assert loss(plain, x_adv) > loss(plain, images)
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        total = tf.reduce_sum(attackable(x))
    assert np.abs(tape.gradient(total, x)).max() > 0


def test_a_reduced_bank(small_autoencoder, bank, digits):
    whole = bank.latents.numpy()
    reduced = reduce_bank(bank, 3)
    centred = whole - whole.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    # What is left out is what the smallest singular values hold (Eckart and Young).
    back = reduced.expand(reduced.latents).numpy()
    np.testing.assert_allclose(np.sum((whole - back) ** 2), np.sum(singular[3:] ** 2), rtol=1e-3)
    np.testing.assert_allclose(reduced.reduce(bank.latents), reduced.latents, atol=1e-4)
    full = reduce_bank(bank, 8)
    np.testing.assert_allclose(full.expand(full.latents), whole, atol=1e-4)
    mean = knn_reconstruction(small_autoencoder, full, K)
    latents = tf.constant(latents_of(small_autoencoder, digits[0]))
    expected = knn_reconstruction(small_autoencoder, bank, K)(latents)
    np.testing.assert_allclose(mean(latents), expected, atol=1e-3)
    with pytest.raises(ValueError, match="reduced already"):
        reduce_bank(reduced, 2)
    with pytest.raises(ValueError, match="dimensions: expected 1 to 8"):
        reduce_bank(bank, 9)


def test_approximate_search_finds_most(small_autoencoder, bank, digits):
    pytest.importorskip("faiss")
    from keras_aaa.knn import approximate_search, recall

    queries = tf.constant(latents_of(small_autoencoder, digits[0]))
    exact = exact_search(bank)(queries, K)
    everywhere = approximate_search(bank, dimensions=8, lists=4, probes=4)(queries, K)
    np.testing.assert_array_equal(everywhere, exact)
    assert recall(everywhere, exact) == 1
    reduced = reduce_bank(bank, 4)
    points = reduced.reduce(queries)
    nearest = exact_search(reduced)(points, K)
    for dimensions in (4, 3):  # what the index leaves out, the ranking brings in
        found = approximate_search(reduced, dimensions, lists=1, probes=1)(points, K)
        assert recall(found, nearest) > (0.999 if dimensions == 4 else 0.9)
    with pytest.raises(ValueError, match="probes: expected 1 or more, got 0"):
        approximate_search(bank, probes=0)
    somewhere = recall(approximate_search(bank, dimensions=4, lists=4, probes=2)(queries, K), exact)
    assert 0.5 < somewhere <= 1


def test_banks_that_do_not_fit(small_autoencoder, small_classifier, bank, monkeypatch):
    other = build("conv_dense_autoencoder", latent=8, width=4)
    with pytest.raises(ValueError, match="another autoencoder"):
        knn_defend(other, small_classifier, bank)
    with pytest.raises(ValueError, match="expected images of 'fashion_mnist', got 'mnist'"):
        knn_defend(small_autoencoder, small_classifier, bank, K, dataset="fashion_mnist")
    with pytest.raises(ValueError, match="k: expected 1 to 300, got 301"):
        knn_defend(small_autoencoder, small_classifier, bank, EXAMPLES + 1)
    train = data.load("mnist", "train").map(lambda image, label: image)
    with pytest.raises(ValueError, match="examples: expected 1 or more"):
        build_bank(small_autoencoder, train, 0, "mnist")
    with pytest.raises(ValueError, match=r"need .* GB.*Take fewer examples"):
        build_bank(small_autoencoder, train, 10**12, "mnist")
    with pytest.raises(ValueError, match="examples: expected 3 at the most"):
        build_bank(small_autoencoder, train.take(3), 4, "mnist")
    with pytest.raises(ValueError, match="around its latent"):
        decoder(build("unet", width=4))


def test_images_that_make_no_bank(small_autoencoder):
    images = tf.data.Dataset.from_tensors(np.zeros((28, 28, 1), np.float32)).repeat(3)
    for wrong, message in (
        (images.map(lambda image: (image, 1)), "single images, float32 .* without labels"),
        (images.batch(2), "not batched"),
        (images.map(lambda image: image[:14]), r"float32 \(28, 28, 1\)"),
        (images.map(lambda image: image + 255), "values in .* got 255 to 255"),
    ):
        with pytest.raises(ValueError, match=message):
            build_bank(small_autoencoder, wrong, 2, "mnist")
    with pytest.raises(TypeError, match=r"images: expected a tf\.data\.Dataset, got ndarray"):
        build_bank(small_autoencoder, np.zeros((3, 28, 28, 1)), 2, "mnist")
    with pytest.raises(ValueError, match="around its latent"):
        build_bank(build("unet", input_shape=(32, 32, 3), width=4), images, 2, "cifar10")


def test_a_search_is_given_and_a_surrogate_is_looked_up(
    small_autoencoder, small_classifier, bank, digits
):
    def the_first(queries, k):
        return tf.zeros((tf.shape(queries)[0], k), tf.int32)

    other = knn_defend(small_autoencoder, small_classifier, bank, K, search=the_first)
    first = tf.repeat(bank.latents[:1], 4, axis=0)
    expected = small_classifier(decoder(small_autoencoder)(first))
    np.testing.assert_allclose(other(digits[0][:4]), expected, atol=1e-4)
    reconstruction = knn_reconstruction(small_autoencoder, bank, K)
    with pytest.raises(ValueError, match="Unknown surrogate 'sotf'"):
        knn_attackable(small_autoencoder, small_classifier, reconstruction, "sotf")
    with pytest.raises(ValueError, match="another autoencoder"):
        knn_attackable(
            build("conv_dense_autoencoder", latent=8, width=4),
            small_classifier,
            reconstruction,
            "soft",
        )
