"""The loop of one training: its timing, progress and result. Copied into each job folder."""

import math
import time
from dataclasses import asdict, dataclass, field

import jax
import numpy as np
import schedule
from job_files import Problem, read_arrays, rounded, weights_hash, write_arrays
from job_steps import planned_settings
from job_training import Training

CALL_SECONDS = 2.0  # of steps between two checks of the time
LINE_SECONDS = 5.0  # between printed lines of progress
VALIDATION_SHARE = 0.05  # largest share of the time, without the last epoch's
PROBE_SECONDS = 0.5  # of steps in one timing


class OutOfTime(Exception):
    """The time of this call is over; the state is saved."""


@dataclass
class Progress:
    """The progress of a training, and the number of epochs that fit into the time."""

    epochs: int
    validate_every: int  # epochs
    step: int = 0
    since_validation: int = 0  # steps that `sums` covers
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # losses, correct
    history: list[dict] = field(default_factory=list)
    seconds: float = 0.0


class Loop:
    """One training in progress.

    Args:
        training: the compiled training.
        about: facts about the job and the machine, for saved states and results.
        save_seconds: seconds between saved states.
    """

    def __init__(self, training: Training, about: dict, save_seconds: float):
        self.training, self.about, self.save_seconds = training, about, save_seconds
        self.recipe, self.each = training.recipe, training.spec.steps_per_epoch
        self.saving_seconds = 3.0
        self.state: list = []
        self.progress, self.begun = Progress(self.recipe.epochs, 1), False
        saved = read_arrays(training.out / "state")
        if saved:
            if saved[1]["job"] != about["job"]:
                raise Problem(
                    f"{training.out}: the state of another job; move it away, or change --result."
                )
            self.state, self.begun = saved[0], True
            self.progress = Progress(**saved[1]["progress"])

    # Time

    def measure(self) -> None:
        """Measure the seconds of an early step, of a late step and of a validation."""
        training, state = self.training, self.training.first_state()
        last = self.recipe.epochs * self.each - 1
        self.step_seconds = [self._probe(state, step) for step in (0, last)]
        variables = training.put(training.own(state))
        for _ in range(2):  # the first call loads kernels
            began = time.monotonic()
            training.validate(variables)
            self.validation_seconds = time.monotonic() - began
        self.validation_seconds *= 2 if training.spec.averaged else 1

    def report_times(self) -> None:
        """Print the measured times."""
        early, late = (self.recipe.batch_size / seconds for seconds in self.step_seconds)
        print(
            f"{self.training.name}: {early:.0f} images a second, {late:.0f} in the last part of "
            f"the run; {self.seconds_for(self.recipe.epochs):.0f} s for its {self.recipe.epochs} "
            f"epochs; a validation takes {self.validation_seconds:.2f} s.",
            flush=True,
        )

    def _probe(self, state, step: int) -> float:
        training, count, seconds, counted = self.training, 1, 0.0, 1
        planned = self._table(step, self.recipe.epochs)
        state, _ = training.take(training.put(state), 1, planned)
        while seconds < PROBE_SECONDS and (not seconds or counted < training.table_steps):
            counted = min(training.table_steps, count)
            began = time.monotonic()
            state, _ = training.take(state, counted, planned)
            seconds, count = time.monotonic() - began, 4 * count
        return seconds / counted

    def seconds_for(self, epochs: int) -> float:
        """Return the seconds that `epochs` epochs take, including validations."""
        total = epochs * self.each
        early = math.ceil(min(self.recipe.late_from, 1.0) * total)
        seconds = early * self.step_seconds[0] + (total - early) * self.step_seconds[1]
        return seconds * (1 + VALIDATION_SHARE) + self.validation_seconds

    def plan(self, fraction: float = 1.0) -> int:
        """Return this fraction of the recipe's epochs, at least one."""
        return max(1, int(fraction * self.recipe.epochs))

    def seconds_left(self, fraction: float) -> float:
        """Return the seconds left for the training, with this fraction of the recipe's epochs."""
        if not self.begun:
            return self.seconds_for(self.plan(fraction))
        part = self.progress.step / (self.progress.epochs * self.each)
        return self.seconds_for(self.progress.epochs) * (1 - part)

    # Training

    def train(self, fraction: float, deadline: float) -> None:
        """Take the remaining steps and write the result.

        Args:
            fraction: fraction of the recipe's epochs. A saved state keeps its own schedule.
            deadline: in seconds of time.monotonic.

        Raises:
            OutOfTime: if the deadline comes first; the state is saved.
            Problem: if the loss is not finite or training collapsed; the last saved state remains.
        """
        training = self.training
        if not self.begun:
            self.begun = True
            an_epoch = self.step_seconds[0] * self.each
            every = math.ceil(self.validation_seconds / (VALIDATION_SHARE * an_epoch))
            self.progress, self.state = Progress(self.plan(fraction), every), training.first_state()
        progress, self.state = self.progress, training.put(self.state)
        total = progress.epochs * self.each
        line = saved = time.monotonic()
        while progress.step < total:
            began = time.monotonic()
            step_seconds = self.step_seconds[progress.step >= self.recipe.late_from * total]
            count = max(1, int(CALL_SECONDS / step_seconds))
            count = min(count, training.table_steps, self.each - progress.step % self.each)
            ahead = 1.5 * count * step_seconds + self.validation_seconds + self.saving_seconds
            if began + ahead > deadline:
                self._save()
                raise OutOfTime
            self._take(count)
            epoch, within = divmod(progress.step, self.each)
            if not within and (epoch % progress.validate_every == 0 or epoch == progress.epochs):
                self._validate(epoch)
            now = time.monotonic()
            progress.seconds += now - began
            if now - line > LINE_SECONDS or progress.step == total:
                line = now
                self._report(count / (now - began), total)
            if now - saved > self.save_seconds:
                self._save()
                saved = time.monotonic()
        self._finish()

    def _take(self, count: int) -> None:
        progress = self.progress
        planned = self._table(progress.step, progress.epochs)
        self.state, sums = self.training.take(self.state, count, planned)
        if not math.isfinite(sums[0]):
            raise Problem(
                f"{self.training.name}: the loss is not finite at one of the {count} steps from "
                f"{progress.step} on. Try a lower learning rate or float32."
            )
        progress.sums = [a + float(b) for a, b in zip(progress.sums, sums, strict=True)]
        progress.step += count
        progress.since_validation += count

    def _table(self, step: int, epochs: int) -> dict[str, np.ndarray]:
        losses = [row["val_loss"] for row in self.progress.history]
        return planned_settings(self.training.spec, self.training.table_steps, step, epochs, losses)

    def _validate(self, epoch: int) -> None:
        progress, training = self.progress, self.training
        examples = progress.since_validation * self.recipe.batch_size
        loss, accuracy = (total / examples for total in progress.sums)
        rate = float(self._table(progress.step - 1, progress.epochs)["rate"][0])
        figures = {"epoch": epoch, "loss": loss, "accuracy": accuracy, "learning_rate": rate}
        figures |= training.validate(training.own(self.state))
        if training.spec.averaged:
            averaged = training.averaged(self.state)
            figures |= training.validate(averaged, schedule.AVERAGED)
        if problem := schedule.collapse(self.recipe, figures, epoch - 1):
            raise Problem(f"{training.name}: {problem}")
        progress.history.append(figures)
        progress.sums, progress.since_validation = [0.0, 0.0], 0
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"{training.name}: {shown}", flush=True)

    def _report(self, steps_a_second: float, total: int) -> None:
        progress, size = self.progress, self.recipe.batch_size
        figures = ""
        if seen := progress.since_validation * size:
            loss, accuracy = (value / seen for value in progress.sums)
            figures = f"loss {loss:.4f}, accuracy {accuracy:.1%}, "
        print(
            f"{self.training.name}: step {progress.step} of {total}, {figures}"
            f"{steps_a_second * size:.0f} images a second, "
            f"about {self.seconds_left(1.0):.0f} s left",
            flush=True,
        )

    # Files

    def _save(self) -> None:
        began = time.monotonic()
        about = self.about | {"progress": asdict(self.progress)}
        write_arrays(self.training.out / "state", jax.device_get(self.state), about)
        self.saving_seconds = 2 * (time.monotonic() - began)

    def _finish(self) -> None:
        training, progress = self.training, self.progress
        averaged = bool(training.spec.averaged) and schedule.averages_are_better(
            progress.history[-1]
        )
        variables = training.averaged(self.state) if averaged else training.own(self.state)
        arrays = [rounded(a, training.spec.round_from) for a in jax.device_get(variables)]
        write_arrays(
            training.out / "weights",
            arrays,
            self.about
            | {
                "progress": asdict(progress),
                "averaged": averaged,
                "classifiers": training.classifier_hashes,
                "weights": weights_hash([arrays[i] for i in training.spec.published]),
            },
            shrink=True,
        )
