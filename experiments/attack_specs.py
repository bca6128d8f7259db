"""Attacks as the command line writes them: name:parameter=value:parameter=value."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._engine.preamble import check_norm, norms_of
from keras_aaa.checks import check_number, lookup
from keras_aaa.evaluation import AutoAttack
from keras_aaa.evaluation._autoattack import AUTOATTACK_NORMS
from keras_aaa.threat_model import ThreatModel

# The evaluation, not the user, chooses the part of Square's budget to run.
_NOT_FLAGS = {"first", "last"}
# attack -> default number of steps, and the default step size for a threat model and that number
STEPS: dict[str, tuple[int, Callable[[ThreatModel, int], float]]] = {
    "pgd": (40, ThreatModel.default_step_size),
    "transfer_pgd": (10, lambda threat, steps: threat.eps / steps),
}
# FAB needs a target class for each example. No flag can give them, but AutoAttack chooses them.
NAMES = ("clean", "autoattack", *(name for name in ATTACKS if name != "fab"))


@dataclass(frozen=True)
class AttackSpec:
    """An attack by name with its parameters."""

    name: str
    parameters: dict[str, int | float | str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name and the parameters, in the form of the command line."""
        values = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
                  for k, v in self.parameters.items())  # fmt: skip
        return ":".join([self.name, *values])


def parse(text: str, threat: ThreatModel) -> AttackSpec:
    """Return the attack that `text` describes, its defaults filled in.

    Args:
        text: "clean", "pgd:steps=40:step_size=0.01", "autoattack:queries=1000", ...
        threat: the threat model; PGD's default step size is 2.5 * eps / steps, and eps / steps
            for its variant for transfer, which starts at the clean image.

    Raises:
        ValueError: for an unknown attack or parameter (lists the known ones), a value of the wrong
            type, or an attack for another norm.
    """
    name, *parts = text.strip().split(":")
    if name == "fab":
        raise ValueError("fab: needs a target class for each example; use autoattack instead.")
    lookup("attack", name, dict.fromkeys(NAMES))
    if name == "autoattack":
        check_norm(name, AUTOATTACK_NORMS, threat)
    elif name != "clean":
        check_norm(name, norms_of(ATTACKS[name]), threat)
    known = _parameters(name)
    parameters: dict[str, int | float | str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        kind = lookup(f"parameter of {name}", key, known)
        try:
            parameters[key] = kind(value)
        except ValueError as error:
            raise ValueError(f"{name}: {key} expects {kind.__name__}, got {value!r}.") from error
    if name in STEPS:
        steps, step_size = STEPS[name]
        parameters = {"steps": steps} | parameters
        check_number(f"{name}: steps", parameters["steps"], 1, whole=True)
        default = step_size(threat, int(parameters["steps"]))
        parameters = {**parameters, "step_size": parameters.get("step_size", default)}
    defaults = {"apgd": {"steps": 100}, "square": {"queries": 5000}, "spsa": {"steps": 100}}
    if name == "autoattack":
        AutoAttack(**parameters)  # type: ignore[arg-type]  # checks the ranges
    return AttackSpec(name, {**defaults.get(name, {}), **parameters})


def _parameters(name: str) -> dict[str, Callable]:
    if name == "clean":
        return {}
    function = AutoAttack if name == "autoattack" else ATTACKS[name]
    arguments = inspect.signature(function).parameters.values()
    keyword = (p for p in arguments if p.annotation in (int, float, str))
    return {p.name: p.annotation for p in keyword if p.name not in _NOT_FLAGS}
