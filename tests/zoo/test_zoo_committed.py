"""The models that are published: what their cards claim is what is measured."""

import json
from pathlib import Path

import pytest

import zoo
from experiments import report
from experiments.load_defence import load_defence
from keras_aaa import data
from zoo import index, versions
from zoo.card import verified_card
from zoo.verify import verify_card

NAMES = zoo.list_models()
REPOSITORY = Path(zoo.__file__).parent.parent


def test_index_and_pages_are_up_to_date():
    assert index.refresh(versions.ROOT, versions.INDEX, check=True) == []


def test_the_pages_show_the_committed_results():
    pages = [(REPOSITORY / page).read_text(encoding="utf-8") for page in report.PAGES]
    assert report.rewritten(pages, report.RESULTS) == pages
    assert list(report.RESULTS.glob("*.json"))


def test_the_whole_zoo_is_under_200_megabytes():
    assert sum(p.stat().st_size for p in versions.ROOT.rglob("*") if p.is_file()) < 200e6


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_complete(name):
    found = versions.find(name)
    card = verified_card(found.folder(), found.card_sha256)
    assert card.name == name and card.threat["eps"] > 0
    assert card.training["command"].startswith("python -m experiments.")
    assert card.training["recipe"]["seed"] >= 0 and len(card.provenance["commit"]) >= 40
    pgd = [m for m in card.measured if m.attack == "pgd"]
    first = min(m.steps for m in pgd)  # PGD of more steps may be measured on fewer examples
    whole = [m for m in card.measured if m.attack == "clean" or (m in pgd and m.steps == first)]
    assert len(whole) >= 2 and all(m.examples >= 10_000 for m in whole)
    assert all(m.examples >= 1000 for m in pgd)
    assert card.caveats


def needs_data_of(name):
    if not data.at_hand(dataset := zoo.info(name).dataset):
        pytest.skip(f"{dataset} is not on this machine; set TFDS_DATA_DIR")


# All models and a thousand examples take an hour; one classifier and one defence tell in seconds
# whether measuring itself has changed.
FEW = [pytest.param(name, 10, id=f"{name}-10") for name in ("mnist_fc", "aaa_mnist_ce_mse")]
MANY = [pytest.param(name, 1000, marks=pytest.mark.slow, id=f"{name}-1000") for name in NAMES]


@pytest.mark.parametrize("name, examples", [*FEW, *MANY])
def test_cards_state_what_is_measured(name, examples):
    needs_data_of(name)
    assert zoo.info(name).parameters == zoo.load(name).count_params()
    checks = verify_card(versions.find(name), examples=examples)
    assert all(check.holds for check in checks), [c for c in checks if not c.holds]


def test_results_are_of_the_weights_that_the_zoo_has():
    results = [json.loads(p.read_text()) for p in report.RESULTS.glob("*.json")]
    stated = {(name, d["version"]) for r in results for name, d in r.get("models", {}).items()}
    assert stated == {(name, zoo.info(name).version) for name, _ in stated}
    attacked = {(r["model"], r["identity"]) for r in results if "identity" in r}
    assert attacked == {(name, load_defence(name, None).identity) for name, _ in attacked}
    assert stated and attacked


@pytest.mark.parametrize("name", NAMES)
def test_cards_and_results_agree(name):
    """The tables of the pages and the cards come from the same measurements."""
    paths = [p for of in ("aaa", "revisiting") for p in report.RESULTS.glob(f"{of}_*.json")]
    results = [json.loads(p.read_text()) for p in paths]
    measured = [m for r in results for m in r.get("measurements", r.get("zoo"))]
    rows = [m for m in measured if m["model"] == name]
    on_card = {(m.defended, m.attack, m.steps): m.correct for m in zoo.info(name).measured}
    counted: dict[tuple, set[int]] = {}  # another machine may count one more or less
    for row in rows:
        key = (row["classifier"], row["attack"], row["steps"])
        counted.setdefault(key, set()).add(row["correct"])
    assert counted and all(on_card[key] in found for key, found in counted.items())


def test_cards_state_the_autoattack_of_the_pages():
    results = [json.loads(p.read_text()) for p in report.RESULTS.glob("autoattack_*.json")]
    for result in results:
        shown = [m["correct"] for m in result["measurements"] if m["row"] == "autoattack"]
        on_card = zoo.info(result["model"]).measured
        assert [m.correct for m in on_card if m.attack == "autoattack"] == shown, result["model"]
    assert results
