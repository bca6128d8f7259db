"""Recipe: every number a training run depends on."""

import dataclasses
from dataclasses import dataclass

from keras_aaa.checks import check_number
from keras_aaa.names import lookup

# The fields that are about the training attack.
ATTACK_FIELDS = (
    "attack_steps",
    "attack_step_size",
    "start_noise",
    "attack_ball",
    "late_from",
    "late_attack_steps",
    "late_attack_step_size",
    "eps_warmup_epochs",
    "validation_steps",
)
# Those that are about autoencoders alone.
AUTOENCODER_FIELDS = ("mse_weight", "temperature", "frozen_encoder", "latent_weight")
LEARNING_RATE_SCHEDULES = ("constant", "plateau", "linear", "cosine")


def _in(low: float, high: float, default=dataclasses.MISSING):
    return dataclasses.field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters of one training run; out of range is refused with the range.

    Step sizes and eps are in image units ([0, 1]). An attack step of zero steps trains on the
    random starts alone; natural training is a Task without a threat.
    """

    epochs: int = _in(1, 10_000)
    batch_size: int = _in(1, 65_536, 128)
    train_examples: int = _in(0, 100_000_000, 0)  # 0: the whole split
    learning_rate: float = _in(1e-8, 10.0, 1e-3)
    schedule: str = "linear"
    decay_from: float = _in(0.0, 1.0, 0.5)  # linear, cosine: fraction of the run before the decay
    # Decoupled (AdamW): each step takes learning_rate * weight_decay of the kernels off.
    weight_decay: float = _in(0.0, 10.0, 0.0)
    plateau_epochs: int = _in(1, 1000, 5)  # plateau: epochs without a better loss before halving
    mse_weight: float = _in(0.0, 1e6, 1.0)  # of the mse term in ce_mse
    temperature: float = _in(0.01, 100.0, 1.0)  # divides the logits in an autoencoder's ce
    frozen_encoder: int = _in(0, 1, 0)  # of an autoencoder: 1 trains the decoder alone
    # Beside an autoencoder's ce: of the cross-entropy that a dense layer on its latent has.
    latent_weight: float = _in(0.0, 1e6, 0.0)
    attack_steps: int = _in(0, 1000, 7)
    attack_step_size: float = _in(0.0, 1.0, 0.0)
    # Multiples of eps: how far random starts reach, and the ball that the steps stay in. N-FGSM
    # (de Jorge et al. 2022) is 2 and 3, with one step of eps: noise larger than eps, no clipping.
    start_noise: float = _in(0.0, 10.0, 1.0)
    attack_ball: float = _in(0.0, 20.0, 1.0)
    late_from: float = _in(
        0.0, 1.0, 1.0
    )  # fraction of the run after which the late attack, PGD, acts
    late_attack_steps: int = _in(0, 1000, 10)
    late_attack_step_size: float = _in(0.0, 1.0, 0.0)
    eps_warmup_epochs: float = _in(0.0, 1000.0, 0.0)
    shift: int = _in(0, 64, 0)  # augmentation: random translation by up to so many pixels
    flip: int = _in(0, 1, 0)  # augmentation: 1 mirrors half of the images
    validation_examples: int = _in(1, 100_000, 1000)
    validation_steps: int = _in(1, 1000, 20)
    seed: int = _in(0, 2**31 - 1, 0)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if "range" in field.metadata:
                value, whole = getattr(self, field.name), field.type is int
                check_number(field.name, value, *field.metadata["range"], whole=whole)
        if self.frozen_encoder and self.latent_weight:
            raise ValueError(
                "latent_weight: expected 0 with frozen_encoder=1, with nothing for it to train; "
                f"got {self.latent_weight}."
            )
        lookup("learning-rate schedule", self.schedule, dict.fromkeys(LEARNING_RATE_SCHEDULES))
