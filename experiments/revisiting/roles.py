"""The models that the Revisiting study trains, and the defences that use them, as data."""

from dataclasses import dataclass

from keras_aaa.training import LOSSES, Loss

MSE = LOSSES["mse"]


@dataclass(frozen=True)
class Role:
    """One kind of model that the study trains, once for each seed.

    Args:
        part: key of RevisitingStudy.architectures.
        loss, alternating_losses: see keras_aaa.training.JointTask.
        training: a kind of training in experiments.recipes; its recipe trains the model.
    """

    part: str
    loss: Loss = LOSSES["ce"]
    alternating_losses: tuple[Loss, ...] = ()
    training: str = "deep"


ROLES = {
    "classifier": Role("classifier"),
    "substitute": Role("substitute"),
    "autoencoder": Role("autoencoder", MSE, training="reconstruction"),
    "temperature": Role("classifier", Loss(1.0, 0.0, temperature=2.5)),
    "gce": Role("classifier", Loss(0.0, 0.0, gce=1.0)),
    "pgd_trained": Role("classifier", training="adversarial"),
    "lambda_0": Role("joint"),  # gamma 0 is the same network
    "lambda_1": Role("joint", Loss(1.0, 1.0)),
    "lambda_4": Role("joint", Loss(1.0, 4.0)),
    "gamma_1": Role("joint", alternating_losses=(MSE,)),
    "gamma_2": Role("joint", alternating_losses=(MSE, MSE)),
}

# defence, as the paper writes it -> (role of its autoencoder or None, role of its classifier)
DEFENCES: dict[str, tuple[str | None, str]] = {
    "C": (None, "classifier"),
    "AE-C": ("autoencoder", "classifier"),
    "S": (None, "substitute"),
    "AE-S": ("autoencoder", "substitute"),
    "C+T": (None, "temperature"),
    "(AE-C)+T": ("autoencoder", "temperature"),
    "C+GCE": (None, "gce"),
    "(AE-C)+GCE": ("autoencoder", "gce"),
    "advC": (None, "pgd_trained"),
    "AE-advC": ("autoencoder", "pgd_trained"),
    "lambda 0": (None, "lambda_0"),
    "lambda 1": (None, "lambda_1"),
    "lambda 4": (None, "lambda_4"),
    "gamma 0": (None, "lambda_0"),
    "gamma 1": (None, "gamma_1"),
    "gamma 2": (None, "gamma_2"),
}
