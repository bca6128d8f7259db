"""Look for signs that an evaluation is too weak. A check can raise a warning, never approve.

Carlini et al. 2019, "On Evaluating Adversarial Robustness"; Athalye et al. 2018. Accuracies are
fractions. Masks are True for examples that are still classified correctly.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from keras_aaa.attacks import pgd
from keras_aaa.defence import Defence
from keras_aaa.evaluation.doubts import Evidence, doubts
from keras_aaa.evaluation.measure import PgdTest, attack_all, survive_pgd
from keras_aaa.evaluation.score import correct, resists
from keras_aaa.threat_model import ThreatModel

STRONGER_STEPS, RESTARTS, NOISE_DRAWS = 2, 3, 5
EPS_FACTORS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
SQUARE_TAKES = 0.002  # more than this after the gradient attacks points to masked gradients


@dataclass(frozen=True)
class Subject:
    """What the checks need: a defence, test examples, a threat model and an attack.

    Args:
        defence: keras.Model: images -> logits.
        images, labels: float32 [n, h, w, c] in [0, 1] and int64 [n]; a few hundred will do.
        threat: the ball.
        steps, step_size: of PGD.
        base: the undefended classifier, or None.
        others: masks, bool [n], of black-box and transfer attacks that were run before, by name.
    """

    defence: Defence
    images: np.ndarray
    labels: np.ndarray
    threat: ThreatModel
    steps: int
    step_size: float
    base: keras.Model | None = None
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    _survived: dict = field(default_factory=dict, init=False, repr=False)

    def survives_pgd(self, model=None, threat=None, factor: int = 1, seed: int = 0) -> np.ndarray:
        """Return a mask, bool [n]: the survivors of PGD with `factor` times the steps."""
        model, threat = model or self.defence, threat or self.threat
        if threat.eps == 0:
            return correct(model, self.images, self.labels)
        test = PgdTest((self.steps * factor,), self.step_size, seed)
        key = id(model), threat, test
        if key not in self._survived:  # several checks ask for the same attack
            masks = survive_pgd(model, self.images, self.labels, threat=threat, test=test)
            self._survived[key] = masks[test.steps[0]]
        return self._survived[key]


def iterative_beats_single_step(s: Subject) -> Evidence:
    """PGD must be at least as strong as FGSM."""
    x = attack_all(s.defence, "fgsm", s.images, s.labels, threat=s.threat)
    single = resists(s.defence, x, s.labels).mean()
    iterative = s.survives_pgd().mean()
    figures = {"fgsm": float(single), "pgd": float(iterative)}
    found = f"FGSM leaves {single:.1%}, PGD {iterative:.1%}: a single step is the stronger attack."
    return Evidence("iterative_beats_single_step", figures, found if single < iterative else None)


def stronger_changes_nothing(s: Subject) -> Evidence:
    """Twice the steps or more restarts should lower accuracy by less than a point."""
    plain = s.survives_pgd()
    doubled = (plain & s.survives_pgd(factor=STRONGER_STEPS)).mean()
    restarted = plain
    for seed in range(1, RESTARTS):
        restarted = restarted & s.survives_pgd(seed=seed)
    figures = {
        "pgd": float(plain.mean()),
        "doubled_steps": float(doubled),
        "restarts": float(restarted.mean()),
    }
    lost = plain.mean() - min(doubled, restarted.mean())
    found = (
        f"Doubled steps or {RESTARTS} restarts take {lost:.1%} more: the attack has not converged."
    )
    return Evidence("stronger_changes_nothing", figures, found if lost > 0.01 else None)


def falls_to_zero_with_eps(s: Subject) -> Evidence:
    """Accuracy must fall as eps grows, to zero for a ball that holds every image."""
    # No ball is wider than the one that holds every image.
    widest = float(np.linalg.norm(np.ones(s.images[0].size), ord=s.threat.metric.order))
    eps = [min(s.threat.eps * factor, widest) for factor in EPS_FACTORS] + [widest]
    curve = []
    for radius in eps:
        ball = ThreatModel(s.threat.norm, radius)
        step_size = max(s.step_size, ball.default_step_size(s.steps))
        wide = Subject(s.defence, s.images, s.labels, ball, s.steps, step_size)
        curve.append(float(wide.survives_pgd().mean()))
    rises = max(b - a for a, b in itertools.pairwise(curve))
    warnings = []
    if rises > 0.01:
        warnings.append(f"accuracy rises by {rises:.1%} as eps grows")
    if curve[-1] > 0.01:
        warnings.append(f"{curve[-1]:.1%} are still correct at eps {eps[-1]:.3g}")
    found = "; ".join(warnings) or None
    return Evidence("falls_to_zero_with_eps", {"eps": eps, "accuracy": curve}, found)


def black_box_never_wins(s: Subject) -> Evidence:
    """Black-box and transfer attacks must not fool examples that the white-box attack does not."""
    white = s.survives_pgd() & s.survives_pgd(factor=STRONGER_STEPS)
    figures = {name: float((white & ~mask).mean()) for name, mask in s.others.items()}
    worse = [f"{name} ({share:.1%})" for name, share in figures.items() if share > SQUARE_TAKES]
    found = (
        "Attacks that do not use this model's gradient fooled examples that PGD did not: "
        f"{', '.join(worse)}."
    )
    return Evidence("black_box_never_wins", figures, found if worse else None)


def noise_never_wins(s: Subject) -> Evidence:
    """Random noise of the same length must not fool examples that PGD does not."""
    white = s.survives_pgd()
    standing = np.ones(len(s.labels), bool)
    for seed in range(NOISE_DRAWS):
        x = attack_all(s.defence, "random_noise", s.images, s.labels, threat=s.threat, seed=seed)
        standing &= resists(s.defence, x, s.labels)
    share = float((white & ~standing).mean())
    found = f"{share:.1%} fall to random noise, but not to PGD."
    figures = {"survive_noise": float(standing.mean()), "noise_only": share}
    return Evidence("noise_never_wins", figures, found if share else None)


def base_falls(s: Subject) -> Evidence:
    """The same attack must fool the undefended classifier; otherwise the attack is broken."""
    if s.base is None:
        raise ValueError("base_falls: expected a subject with an undefended classifier, its base.")
    left = float(s.survives_pgd(model=s.base).mean())
    found = f"The undefended classifier keeps {left:.1%} under the same attack."
    return Evidence("base_falls", {"undefended": left}, found if left > 0.2 else None)


def stays_in_the_ball(s: Subject) -> Evidence:
    """The attack's images must lie in the ball and the box, up to float rounding."""
    x_adv = pgd(
        s.defence, s.images, s.labels, threat=s.threat, steps=s.steps, step_size=s.step_size
    )
    outside = float((~s.threat.contains(x_adv, s.images)).mean())
    found = f"{outside:.1%} of the adversarial images lie outside the ball."
    return Evidence("stays_in_the_ball", {"outside": outside}, found if outside else None)


CHECKS: tuple[Callable[[Subject], Evidence], ...] = (
    iterative_beats_single_step,
    stronger_changes_nothing,
    falls_to_zero_with_eps,
    black_box_never_wins,
    noise_never_wins,
    base_falls,
    stays_in_the_ball,
)


def report(subject: Subject) -> list[Evidence]:
    """Return the evidence of every check. Without a base, base_falls is left out.

    The checks of keras_aaa.evaluation.doubts come first.
    """
    first = doubts(subject.defence, subject.images, subject.labels)
    return first + [c(subject) for c in CHECKS if c is not base_falls or subject.base is not None]
