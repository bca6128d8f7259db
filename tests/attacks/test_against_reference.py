"""Each attack of AutoAttack alone, against the authors' own code in PyTorch on the same weights.

The reference is the package `autoattack` of github.com/fra31/auto-attack; PGD in l2 is compared
with Foolbox. Ours may leave at most half a point more than theirs, or two standard errors of the
difference on the same examples.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
reference = pytest.importorskip("autoattack")

from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted  # noqa: E402
from autoattack.fab_pt import FABAttack_PT  # noqa: E402
from autoattack.square import SquareAttack  # noqa: E402

import zoo  # noqa: E402
from experiments.benchmark.torch_port import Ported  # noqa: E402
from keras_aaa import data  # noqa: E402
from keras_aaa.attacks import pgd  # noqa: E402
from keras_aaa.evaluation import AutoAttack, autoattack, correct  # noqa: E402
from keras_aaa.models import defend  # noqa: E402
from keras_aaa.threat_model import ThreatModel  # noqa: E402

pytestmark = pytest.mark.slow

EXAMPLES, STEPS, TARGETS, QUERIES = 100, 30, 2, 500
# Radii that leave both some and not all of the examples.
EPS = {
    "mnist_madry": {"linf": 0.1, "l2": 1.5, "l1": 10.0},
    "aaa_mnist_ce_mse": {"linf": 0.3, "l2": 2.0, "l1": 12.0},
}
SQUARE_EPS = {"mnist_madry": {"linf": 0.15, "l2": 2.0, "l1": 15.0}}
ATTACKS = ("apgd_ce", "apgd_dlr", "apgd_t", "fab_t", "fab", "square")
SETTINGS = AutoAttack(steps=STEPS, targets=TARGETS, queries=QUERIES)


@pytest.fixture(scope="module")
def subjects():
    return {name: subject(name) for name in EPS}


def subject(name: str):
    """Return the model, its port, and test digits that it classifies correctly."""
    model = zoo.load(name)
    if name.startswith("aaa_"):
        model = defend(model, zoo.load(zoo.info(name).classifier.name))
    images, labels = (a.numpy() for a in data.first(data.load("mnist", "test"), EXAMPLES + 20))
    known = np.flatnonzero(correct(model, images, labels))[:EXAMPLES]
    return model, Ported(model).eval(), images[known], labels[known]


def theirs(attack: str, port, images, labels, threat: ThreatModel) -> np.ndarray:
    """Return the adversarial images of the reference implementation."""
    common = {"eps": threat.eps, "norm": threat.norm.capitalize(), "device": "cpu", "seed": 0}
    steps, wide = {"n_iter": STEPS, "verbose": False, **common}, threat.norm == "l1"
    restarts = AutoAttack(attacks=(attack,)).stages(threat)[attack].settings.get("restarts", 1)
    kinds = {
        "apgd_ce": lambda: APGDAttack(port, n_restarts=restarts, use_largereps=wide, **steps),
        "apgd_dlr": lambda: APGDAttack(
            port, n_restarts=restarts, loss="dlr", use_largereps=wide, **steps
        ),
        "apgd_t": lambda: APGDAttack_targeted(
            port, n_target_classes=TARGETS, use_largereps=wide, **steps
        ),
        "fab": lambda: FABAttack_PT(port, n_restarts=restarts, **steps),
        "fab_t": lambda: FABAttack_PT(port, targeted=True, n_target_classes=TARGETS, **steps),
        "square": lambda: SquareAttack(port, n_queries=QUERIES, resc_schedule=False, **common),
    }
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    found = kinds[attack]().perturb(x, torch.from_numpy(labels))
    return found.detach().permute(0, 2, 3, 1).numpy()


def compare(attack: str, model, port, images, labels, threat: ThreatModel):
    """Return which examples survive ours and theirs, bool [n] each."""
    alone = AutoAttack(steps=STEPS, targets=TARGETS, queries=QUERIES, attacks=(attack,))
    survive_ours = autoattack(model, images, labels, threat=threat, settings=alone)[attack]
    x_adv = theirs(attack, port, images, labels, threat)
    assert np.abs(x_adv - images).max() > 0
    return survive_ours, correct(model, x_adv.clip(0, 1), labels)


def check(ours: np.ndarray, reference: np.ndarray):
    difference = ours.astype(float) - reference
    error = difference.std() / np.sqrt(len(difference))
    assert 0 < reference.mean() < 1, "the comparison needs an attack that fools some"
    assert difference.mean() <= max(0.005, 2 * error), (ours.mean(), reference.mean())


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", EPS)
def test_no_weaker_than_the_reference(name, norm, attack, subjects):
    eps = (SQUARE_EPS if attack == "square" and name in SQUARE_EPS else EPS)[name][norm]
    check(*compare(attack, *subjects[name], ThreatModel(norm, eps)))


def test_pgd_in_l2_is_no_weaker_than_foolbox(subjects):
    foolbox = pytest.importorskip("foolbox")
    model, port, images, labels = subjects["mnist_madry"]
    threat = ThreatModel("l2", 1.5)
    x_adv = pgd(model, images, labels, threat=threat, steps=40, step_size=0.1)
    attack = foolbox.attacks.L2PGD(abs_stepsize=0.1, steps=40)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    wrapped = foolbox.PyTorchModel(port, bounds=(0, 1), device="cpu")
    _, found, _ = attack(wrapped, x, torch.from_numpy(labels), epsilons=threat.eps)
    check(
        correct(model, x_adv, labels),
        correct(model, found.permute(0, 2, 3, 1).numpy().clip(0, 1), labels),
    )
