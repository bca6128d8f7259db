"""The memory and the time of attacks, on a small model."""

import json

import pytest

from experiments.attack_costs import SETTINGS
from keras_aaa.attacks import ATTACKS
from tests.helpers.commands import run

SMALL = ["--size=32", "--classes=20", "--batch=2"]


def test_every_attack_has_settings():
    assert SETTINGS.keys() == {"model", *ATTACKS}


@pytest.mark.parametrize("name", ["fab", pytest.param("hop_skip_jump", marks=pytest.mark.slow)])
def test_an_attack_is_measured_in_the_process(name):
    done = run("experiments.attack_costs", "--in_process", f"--attacks={name}", *SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["peak_gb"] > 0.1 and measured["seconds"] > 0


@pytest.mark.slow
def test_a_table_of_processes_and_what_cannot_be():
    done = run("experiments.attack_costs", "--attacks=model,fgsm", *SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 images 32 x 32, 20 classes" in done.stdout and "fgsm" in done.stdout
    done = run("experiments.attack_costs", "--attacks=pdg")
    assert done.returncode == 2 and "Did you mean 'pgd'?" in done.complaint
