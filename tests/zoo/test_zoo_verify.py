"""A card's claims are measured again, each on as many examples as it names."""

import numpy as np
import pytest

import zoo
from keras_aaa import data
from keras_aaa.evaluation import PgdTest, survive_pgd
from keras_aaa.threat_model import threat_for
from zoo import versions
from zoo.verify import verify_card


def claim(attack, mask, examples, steps=None):
    size = 0.02 if steps else None
    return zoo.Measurement.of(mask[:examples], attack, steps=steps, step_size=size, defended=NAME)


NAME = "mnist_fc"


@pytest.fixture
def published(tmp_path):
    """A private zoo: MNIST's FC with what is measured here, PGD-8 on a part, one claim false."""
    model = zoo.load("mnist_fc")
    images, labels = data.first(data.load("mnist", "test"), 120)
    masks = survive_pgd(
        model, images, labels, threat=threat_for("mnist"), test=PgdTest((2, 8), 0.02)
    )
    card = zoo.Card(
        name="mnist_fc",
        version=1,
        kind="classifier",
        dataset="mnist",
        model=zoo.info("mnist_fc").model,
        classifier=None,
        threat={"norm": "linf", "eps": 0.3},
        training={},
        provenance={},
        parameters=model.count_params(),
        measured=(
            claim("clean", masks[None], 120),
            claim("pgd", masks[2], 120, 2),
            claim("pgd", masks[8], 40, 8),
            claim("pgd", np.ones(120, bool), 60, 4),
        ),
    )
    zoo.save(model, "mnist_fc", card, tmp_path)
    return versions.find("mnist_fc", root=tmp_path)


def test_each_claim_is_measured_on_its_own_number_of_examples(published):
    checks = verify_card(published)
    found = {(c.attack, c.steps): c for c in checks}
    assert {key: c.examples for key, c in found.items()} == {
        ("clean", None): 120,
        ("pgd", 2): 120,
        ("pgd", 4): 60,
        ("pgd", 8): 40,
    }
    for key in (("clean", None), ("pgd", 2), ("pgd", 8)):
        assert found[key].measured == found[key].claimed and found[key].holds
    assert found["pgd", 4].measured < 0.5 and not found["pgd", 4].holds


def test_a_number_of_examples_is_taken_for_all_claims(published):
    assert {c.examples for c in verify_card(published, examples=30)} == {30}


def test_an_attack_without_a_claim_is_refused(published):
    with pytest.raises(ValueError, match="no accuracy under autoattack"):
        verify_card(published, attack="autoattack")


def test_the_longer_side_of_an_interval_is_what_a_measurement_may_differ_by(published):
    for check in verify_card(published):
        right = zoo.Measurement(round(check.measured * check.examples), check.examples)
        low, high = right.interval_among(4)
        assert check.tolerance == max(high - right.accuracy, right.accuracy - low)
        assert check.tolerance > (high - low) / 2
