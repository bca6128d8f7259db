"""What is benchmarked, as data."""

from dataclasses import dataclass

from keras_aaa.checks import lookup


@dataclass(frozen=True)
class Job:
    """One thing to time, on a defence of the zoo.

    kind: "attack" (PGD on the whole defence, images attacked a second), "training" (one adversarial
    step of the autoencoder, images a second) or "clean" (inference, images a second).
    """

    title: str
    kind: str
    autoencoder: str  # zoo name; before its own source classifier
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
        ValueError: lists the names there are.
    """
    return lookup("benchmark job", name, JOBS)
