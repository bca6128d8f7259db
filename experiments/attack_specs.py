"""Attacks as the command line writes them: name:parameter=value:parameter=value."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._engine.preamble import check_norm, norms_of
from keras_aaa.checks import check_number, lookup
from keras_aaa.evaluation import AutoAttack
from keras_aaa.threat_model import ThreatModel

# The evaluation, not the user, chooses the part of Square's budget to run.
_NOT_FLAGS = {"first", "last"}
# attack -> default number of steps, and the default step size for a threat model and that number
STEPS: dict[str, tuple[int, Callable[[ThreatModel, int], float]]] = {
    "pgd": (40, ThreatModel.default_step_size),
    "transfer_pgd": (10, lambda threat, steps: threat.eps / steps),
}
NAMES = ("clean", "autoattack", *ATTACKS)
# How a parameter is read from the command line, by its annotation.
_READ: dict[object, Callable] = {
    int: int,
    float: float,
    str: str,
    tuple[str, ...]: lambda text: tuple(text.split("+")),
}


Value = int | float | str | tuple[str, ...]


@dataclass(frozen=True)
class AttackSpec:
    """An attack by name with its parameters."""

    name: str
    parameters: dict[str, Value] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name and the parameters, in the form of the command line."""
        return ":".join([self.name, *(f"{k}={_written(v)}" for k, v in self.parameters.items())])


def parse(text: str, threat: ThreatModel) -> AttackSpec:
    """Return the attack that `text` describes, its defaults filled in.

    Args:
        text: "clean", "pgd:steps=40:step_size=0.01", "autoattack:version=plus",
            "autoattack:attacks=apgd_ce+square", ...
        threat: the threat model; PGD's default step size is 2.5 * eps / steps, and eps / steps
            for its variant for transfer, which starts at the clean image.

    Raises:
        ValueError: for an unknown attack or parameter (lists the known ones), a value of the wrong
            type, or an attack for another norm.
    """
    name, *parts = text.strip().split(":")
    lookup("attack", name, dict.fromkeys(NAMES))
    if name in ATTACKS:
        check_norm(name, norms_of(ATTACKS[name]), threat)
    known = _parameters(name)
    parameters: dict[str, Value] = {}
    for part in parts:
        key, _, value = part.partition("=")
        kind = lookup(f"parameter of {name}", key, known)
        try:
            parameters[key] = kind(value)
        except ValueError as error:
            raise ValueError(f"{name}: {key} expects {kind.__name__}, got {value!r}.") from error
    parameters = _budget(name) | parameters
    if name in STEPS:
        steps, step_size = STEPS[name]
        parameters = {"steps": steps} | parameters
        check_number(f"{name}: steps", parameters["steps"], 1, whole=True)
        default = step_size(threat, int(parameters["steps"]))
        parameters = {**parameters, "step_size": parameters.get("step_size", default)}
    if name == "autoattack":
        AutoAttack(**parameters)  # type: ignore[arg-type]  # checks the ranges
    return AttackSpec(name, parameters)


def _written(value: Value) -> str:
    if isinstance(value, tuple):
        return "+".join(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def stage_titles(spec: AttackSpec, threat: ThreatModel) -> dict[str, str]:
    """Return the title of each stage of AutoAttack; the last one is the result. Empty for others.

    Args:
        spec: from parse().
        threat: the threat model.
    """
    if spec.name != "autoattack":
        return {}
    names = [*AutoAttack(**spec.parameters).stages(threat)]  # type: ignore[arg-type]
    return {n: spec.title if n == names[-1] else f"{spec.title} {n}" for n in names}


def _budget(name: str) -> dict[str, Value]:
    """Return the default steps or queries of an attack, so that every title states them."""
    if name not in ATTACKS:
        return {}
    arguments = inspect.signature(ATTACKS[name]).parameters
    present = [n for n in ("steps", "queries") if n in arguments]
    return {n: d for n in present if (d := arguments[n].default) is not inspect.Parameter.empty}


def _parameters(name: str) -> dict[str, Callable]:
    if name == "clean":
        return {}
    function = AutoAttack if name == "autoattack" else ATTACKS[name]
    arguments = inspect.signature(function).parameters.values()
    keyword = (p for p in arguments if p.annotation in _READ)
    return {p.name: _READ[p.annotation] for p in keyword if p.name not in _NOT_FLAGS}
