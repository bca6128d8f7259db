"""Attacks as the command line writes them: name:parameter=value:parameter=value."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from keras_aaa.attacks import ATTACKS
from keras_aaa.attacks._engine.norms import check_norm
from keras_aaa.checks import check_number, lookup
from keras_aaa.evaluation import AutoAttack
from keras_aaa.threat_model import ThreatModel

# The part of Square's budget to run is the evaluation's business.
_NOT_FLAGS = {"first", "last"}
# FAB wants a target class for each example, which no flag can give; AutoAttack chooses them.
NAMES = ("clean", "autoattack", *(name for name in ATTACKS if name != "fab"))


@dataclass(frozen=True)
class AttackSpec:
    """An attack by name with its parameters."""

    name: str
    parameters: dict[str, int | float | str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For people: the name and the parameters, as the command line takes them."""
        values = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
                  for k, v in self.parameters.items())  # fmt: skip
        return ":".join([self.name, *values])


def parse(text: str, threat: ThreatModel) -> AttackSpec:
    """Return the attack that `text` describes, its defaults filled in.

    Args:
        text: "clean", "pgd:steps=40:step_size=0.01", "autoattack:queries=1000", ...
        threat: the ball, which PGD's default step (2.5 * eps / steps) follows.

    Raises:
        ValueError: for an unknown attack or parameter (lists the known), a value of the wrong
            type, or an attack that is made for another norm.
    """
    name, *parts = text.strip().split(":")
    if name == "fab":
        raise ValueError("fab: needs a target class an example; autoattack runs it with them.")
    lookup("attack", name, dict.fromkeys(NAMES))
    check_norm(name, threat)
    known = _parameters(name)
    given: dict[str, int | float | str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        kind = lookup(f"parameter of {name}", key, known)
        try:
            given[key] = kind(value)
        except ValueError as error:
            raise ValueError(f"{name}: {key} expects {kind.__name__}, got {value!r}.") from error
    if name == "pgd":
        given = {"steps": 40} | given
        check_number("pgd: steps", given["steps"], 1, whole=True)
        default = 2.5 * threat.eps / int(given["steps"])
        given = {**given, "step_size": given.get("step_size", default)}
    defaults = {"apgd": {"steps": 100}, "square": {"queries": 5000}, "spsa": {"steps": 100}}
    if name == "autoattack":
        AutoAttack(**given)  # type: ignore[arg-type]  # refuses what is out of range
    return AttackSpec(name, {**defaults.get(name, {}), **given})


def _parameters(name: str) -> dict[str, Callable]:
    if name == "clean":
        return {}
    function = AutoAttack if name == "autoattack" else ATTACKS[name]
    found = inspect.signature(function).parameters.values()
    keyword = (p for p in found if p.annotation in (int, float, str))
    return {p.name: p.annotation for p in keyword if p.name not in _NOT_FLAGS}
