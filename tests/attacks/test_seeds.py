"""Seeds of any integer type and size are taken, and equal seeds draw the same."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_aaa import ThreatModel
from keras_aaa.attacks import pgd, random_noise, spsa, square
from keras_aaa.checks import int32_seed
from keras_aaa.evaluation import attack_all
from tests.helpers.small_attacks import SETTINGS

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.random((3, 8, 8, 1), np.float32), RNG.integers(0, 10, 3)
COMMON = {"threat": ThreatModel("linf", 0.1)}
ATTACKS = (pgd, random_noise, spsa, square)


@pytest.fixture(scope="module")
def classifier():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda f: f.__name__)
def test_seeds_of_every_type_and_size(attack, classifier):
    def run(seed):
        settings = SETTINGS[attack.__name__] | COMMON
        return attack(classifier, IMAGES, LABELS, seed=seed, **settings).numpy()

    for seed in (np.int64(200), np.uint8(200), np.uint64(200)):
        np.testing.assert_array_equal(run(seed), run(200))
    large = [run(seed) for seed in (2**31, 2**32 + 1, 2**63, -(2**40), 2**100, -1, 0)]
    for i, one in enumerate(large):
        assert all((one != other).any() for other in large[:i])
    with pytest.raises(TypeError, match=r"seed: expected a whole number, got 1\.5"):
        run(1.5)
    name, parameters = attack.__name__, SETTINGS[attack.__name__]
    for seed in (np.uint8(200), 2**63):
        attack_all(classifier, name, IMAGES, LABELS, parameters=parameters, seed=seed, **COMMON)


def test_small_seeds_stay_as_they_are():
    assert [int32_seed(seed) for seed in (0, 7, -1, 2**31 - 1, -(2**31))] == [
        0, 7, -1, 2**31 - 1, -(2**31),
    ]  # fmt: skip
    assert int32_seed(2**31) != int32_seed(-(2**31) - 1)
