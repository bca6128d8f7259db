"""The workloads of the benchmark, as data, and the defences and examples that they run on."""

import math
from dataclasses import dataclass

import keras
import numpy as np

import zoo
from keras_aaa import data, defend
from keras_aaa.checks import lookup
from keras_aaa.threat_model import ThreatModel, threat_for


@dataclass(frozen=True)
class Workload:
    """What the contenders are timed on: a task on a defence of the zoo, in images per second.

    kind: "attack" (PGD on the whole defence), "training" (one adversarial training step of the
    autoencoder) or "clean" (inference).
    """

    title: str
    kind: str
    autoencoder: str  # zoo name; put before its source classifier
    steps: int  # of the attack
    step_size: float  # image units
    examples: int


WORKLOADS = {
    "clean_mnist": Workload("MNIST defence, clean", "clean", "aaa_mnist_ce_mse", 0, 0.0, 4000),
    "pgd_mnist": Workload("MNIST defence, PGD-40", "attack", "aaa_mnist_ce_mse", 40, 0.01, 1000),
    "training_mnist": Workload(
        "MNIST autoencoder, training step with PGD-7", "training", "aaa_mnist_ce_mse", 7, 0.075, 768
    ),
    "pgd_cifar10": Workload(
        "CIFAR-10 defence (U-Net of width 32), PGD-10",
        "attack",
        "aaa_cifar10_ce_mse_small",
        10,
        2 / 255,
        512,
    ),
    "training_cifar10": Workload(
        "CIFAR-10 autoencoder (U-Net of width 32), training step with PGD-10",
        "training",
        "aaa_cifar10_ce_mse_small",
        10,
        2 / 255,
        256,
    ),
}


def workload_for(name: str) -> Workload:
    """Return the workload of that name.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    return lookup("benchmark workload", name, WORKLOADS)


@dataclass(frozen=True)
class LoadedWorkload:
    """A workload's defence and its parts, the threat model, and the examples."""

    autoencoder: keras.Model
    classifier: keras.Model
    defence: keras.Model
    threat: ThreatModel
    images: np.ndarray  # float32 [n, h, w, c] in [0, 1]
    labels: np.ndarray  # int64 [n]


def load_workload(workload: Workload, data_dir: str | None) -> LoadedWorkload:
    """Load the workload's defence and the first `workload.examples` test examples."""
    card = zoo.info(workload.autoencoder)
    if card.classifier is None:
        raise ValueError(f"{workload.autoencoder}: expected an autoencoder, got a {card.kind}.")
    # Trainable: a training step is one of the workloads.
    autoencoder = zoo.load(workload.autoencoder, trainable=True)
    classifier = zoo.load(card.classifier.name)
    images, labels = data.first(data.load(card.dataset, "test", data_dir), workload.examples)
    return LoadedWorkload(
        autoencoder,
        classifier,
        defend(autoencoder, classifier),
        threat_for(card.dataset),
        images.numpy(),
        labels.numpy(),
    )


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of one image's forward pass, of kernels only; the rest is small."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif hasattr(layer, "kernel"):
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            pixels = (layer.input if transposed else layer.output).shape[1:-1]
            total += math.prod(layer.kernel.shape) * math.prod(pixels)
    return total


def per_image(kind: str, steps: int, forward: int) -> int:
    """Return a workload's multiply-adds per image.

    An attack step takes a forward pass and a backward pass to the image. A training step adds a
    forward pass and the backward passes to the image and to the weights.
    """
    return forward * {"clean": 1, "attack": 2 * steps, "training": 2 * steps + 3}[kind]
