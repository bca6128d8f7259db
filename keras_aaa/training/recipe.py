"""Recipe: the hyperparameters of a training run."""

import dataclasses
from dataclasses import dataclass

from keras_aaa.checks import check_number, lookup

# Fields of the training attack.
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
LEARNING_RATE_SCHEDULES = ("constant", "plateau", "linear", "cosine")


def ranged(low: float, high: float, default=dataclasses.MISSING, *, help: str):
    """Return a dataclass field for a number from `low` to `high`; `help` describes its flag."""
    return dataclasses.field(default=default, metadata={"range": (low, high), "help": help})


def check_ranges(settings) -> None:
    """Raise TypeError or ValueError unless the `ranged` fields of a dataclass are in range."""
    for field in dataclasses.fields(settings):
        if "range" in field.metadata:
            value, whole = getattr(settings, field.name), field.type is int
            check_number(field.name, value, *field.metadata["range"], whole=whole)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters of one training run.

    Step sizes and eps are in image units ([0, 1]). An attack of zero steps trains on the random
    starts alone. For natural training, use a Task without a threat.

    Raises:
        TypeError: if a field is not a number, or not a whole number where one is expected.
        ValueError: for a number out of range (the message names the range), an unknown schedule,
            steps of size 0.
    """

    epochs: int = ranged(1, 10_000, help="passes over the training examples")
    batch_size: int = ranged(1, 65_536, 128, help="examples per update, over all replicas")
    train_examples: int = ranged(
        0, 100_000_000, 0, help="the first examples; 0 takes the whole split"
    )
    learning_rate: float = ranged(
        1e-8, 10.0, 1e-3, help="learning rate of Adam before the schedule"
    )
    schedule: str = "linear"
    decay_from: float = ranged(
        0.0, 1.0, 0.5, help="linear, cosine: fraction of the run before the decay"
    )
    weight_decay: float = ranged(
        0.0,
        10.0,
        0.0,
        help="decoupled (AdamW): each update subtracts learning_rate * weight_decay of each kernel",
    )
    plateau_epochs: int = ranged(
        1, 1000, 5, help="plateau: epochs without a lower loss before the rate is halved"
    )
    average_decay: float = ranged(
        0.0,
        0.99999,
        0.0,
        help="fraction of the averaged weights that an update keeps; 0 for no average",
    )
    attack_steps: int = ranged(0, 1000, 0, help="steps of the training attack")
    attack_step_size: float = ranged(0.0, 1.0, 0.0, help="step size in image units")
    # N-FGSM (de Jorge et al. 2022) is one step of size eps with start_noise=2 and attack_ball=3:
    # the noise is larger than eps, and nothing is clipped.
    start_noise: float = ranged(0.0, 10.0, 1.0, help="radius of random starts, times eps")
    attack_ball: float = ranged(0.0, 20.0, 1.0, help="radius of the ball of the steps, times eps")
    late_from: float = ranged(0.0, 1.0, 1.0, help="fraction of the run before the late attack, PGD")
    late_attack_steps: int = ranged(0, 1000, 10, help="steps of the late attack")
    late_attack_step_size: float = ranged(0.0, 1.0, 0.0, help="step size in image units")
    eps_warmup_epochs: float = ranged(0.0, 1000.0, 0.0, help="epochs of the linear warm-up of eps")
    shift: int = ranged(0, 64, 0, help="augmentation: largest random translation, in pixels")
    flip: int = ranged(0, 1, 0, help="augmentation: 1 mirrors half of the images")
    validation_examples: int = ranged(1, 100_000, 1000, help="the first validation examples")
    validation_steps: int = ranged(1, 1000, 20, help="steps of PGD in validation")
    seed: int = ranged(0, 2**31 - 1, 0, help="seed of weights, batches and random starts")

    def __post_init__(self):
        check_ranges(self)
        self._check_step("attack")
        if self.late_from < 1:
            self._check_step("late_attack", f", from late_from={self.late_from} on")
        lookup("learning-rate schedule", self.schedule, dict.fromkeys(LEARNING_RATE_SCHEDULES))

    def changes(self) -> dict:
        """Return the fields that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}

    def _check_step(self, attack: str, when: str = "") -> None:
        steps, size = getattr(self, f"{attack}_steps"), getattr(self, f"{attack}_step_size")
        if steps and not size:
            raise ValueError(
                f"{attack}_steps: expected 0, or {attack}_step_size > 0; got {steps} steps of "
                f"size 0{when}."
            )
