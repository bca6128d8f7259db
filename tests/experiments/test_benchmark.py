"""The benchmark: its roofline by hand, its contenders' weights, and the command on a few images."""

import json

import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark.contenders import CONTENDERS
from experiments.benchmark.workloads import multiply_adds, per_image
from keras_aaa.fast.precision import peak
from keras_aaa.models import build, defend


def test_multiply_adds_by_hand():
    autoencoder = build("conv_dense_autoencoder", latent=1024)
    encoder = 14 * 14 * 32 * 9 + 7 * 7 * 64 * 9 * 32 + 3136 * 1024
    decoder = 1024 * 3136 + 7 * 7 * 64 * 9 * 32 + 14 * 14 * 32 * 9
    classifier = build("madry")
    classifier_work = 28 * 28 * 32 * 9 + 14 * 14 * 64 * 9 * 32 + 3136 * 1024 + 10240
    assert multiply_adds(autoencoder) == encoder + decoder
    assert multiply_adds(defend(autoencoder, classifier)) == encoder + decoder + classifier_work
    assert per_image("attack", 40, 100) == 8000
    assert per_image("training", 7, 100) == 1700


def test_a_matrix_product_has_a_peak():
    assert 1e8 < peak("float32") < 1e15


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("conv_dense_autoencoder", {"latent": 16}),
        ("conv_autoencoder", {"width": 4}),
        ("unet", {"width": 4}),
        ("resnet", {"filters": (4, 4, 8, 16), "units": 1}),
        ("madry", {"width": 4, "dense": 16}),
        ("fc", {"hidden": (8, 8)}),
        ("vgg16", {"width": 4, "input_shape": (32, 32, 3)}),
        ("lenet5", {}),
    ],
)
def test_the_torch_port_computes_the_same(name, sizes):
    torch = pytest.importorskip("torch")
    from experiments.benchmark.torch_port import Ported

    model = build(name, **sizes)
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.05, 0.3, w.shape) for w in model.get_weights()])
    images = random.random((3, *model.input_shape[1:]), np.float32)
    port = Ported(model).eval()
    found = port(torch.from_numpy(images).permute(0, 3, 1, 2)).detach()
    found = found.permute(0, 2, 3, 1).numpy() if found.ndim == 4 else found.numpy()
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_every_contender_at_hand_runs(tmp_path, monkeypatch):
    jobs = ["clean_mnist", "pgd_mnist", "training_mnist"]
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(
        jobs=jobs, examples=16, batch_sizes=["16"], workdir=str(tmp_path), json=False
    ):
        benchmark.main([])
    rows = json.loads((tmp_path / "result.json").read_text())["benchmark"]
    kinds = {"clean_mnist": "clean", "pgd_mnist": "attack", "training_mnist": "training"}
    ran = {(row["job"], row["contender"]) for row in rows}
    assert ran == {
        (job, name)
        for job, kind in kinds.items()
        for name, contender in CONTENDERS[kind].items()
        if not contender.missing
    }
    assert all(row["low"] <= row["median"] <= row["high"] for row in rows)
    attacked = [row["robust"]["accuracy"] for row in rows if row["job"] == "pgd_mnist"]
    assert all(accuracy > 0.5 for accuracy in attacked)
    assert (tmp_path / "benchmark.png").stat().st_size > 1000
