"""Attacks as the command line writes them."""

import pytest

from experiments.attack_specs import parse
from keras_aaa.threat_model import ThreatModel


def test_attacks_are_parsed_with_their_defaults():
    threat = ThreatModel("linf", 0.3)
    assert parse("pgd:steps=10", threat).parameters == {"steps": 10, "step_size": 0.075}
    assert parse("autoattack:queries=7", threat).parameters == {"queries": 7}
    assert parse("fab", threat).parameters == {"steps": 100}
    custom = parse("autoattack:attacks=apgd_ce+square", ThreatModel("l1", 12))
    assert custom.parameters == {"attacks": ("apgd_ce", "square")}
    assert custom.title == "autoattack:attacks=apgd_ce+square"
    assert parse("clean", threat).parameters == {}
    with pytest.raises(ValueError, match="Unknown parameter of pgd 'stepps'"):
        parse("pgd:stepps=1", threat)
    with pytest.raises(ValueError, match="steps expects int, got 'ten'"):
        parse("pgd:steps=ten", threat)
