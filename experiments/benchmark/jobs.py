"""The jobs of the benchmark, as data."""

from dataclasses import dataclass

from keras_aaa.checks import lookup


@dataclass(frozen=True)
class Job:
    """One job to time, on a defence of the zoo, in images per second.

    kind: "attack" (PGD on the whole defence), "training" (one adversarial training step of the
    autoencoder) or "clean" (inference).
    """

    title: str
    kind: str
    autoencoder: str  # zoo name; put before its source classifier
    steps: int  # of the attack
    step_size: float  # image units
    examples: int


JOBS = {
    "clean_mnist": Job("MNIST defence, clean", "clean", "aaa_mnist_ce_mse", 0, 0.0, 4000),
    "pgd_mnist": Job("MNIST defence, PGD-40", "attack", "aaa_mnist_ce_mse", 40, 0.01, 1000),
    "training_mnist": Job(
        "MNIST autoencoder, training step with PGD-7", "training", "aaa_mnist_ce_mse", 7, 0.075, 768
    ),
    "pgd_cifar10": Job(
        "CIFAR-10 defence (U-Net of width 32), PGD-10",
        "attack",
        "aaa_cifar10_ce_mse_small",
        10,
        2 / 255,
        512,
    ),
    "training_cifar10": Job(
        "CIFAR-10 autoencoder (U-Net of width 32), training step with PGD-10",
        "training",
        "aaa_cifar10_ce_mse_small",
        10,
        2 / 255,
        256,
    ),
}


def job_for(name: str) -> Job:
    """Return the job of that name.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    return lookup("benchmark job", name, JOBS)
