"""Make the zoo card of a trained model from its run's record and its measurements."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import zoo
from experiments.attack_specs import AttackSpec
from experiments.train_run import Trained
from keras_aaa.models import ModelConfig
from keras_aaa.results import Measurement
from keras_aaa.threat_model import ThreatModel, threat_for
from zoo import artefact, index, versions
from zoo.card import Card

CAVEATS = (
    "PGD overstates robustness: a stronger attack finds more.",
    "The radius of the threat model and the first learning rate are the field's usual ones; the "
    "paper's text lost its own.",
)

IDENTITY = ("recipe", "loss", "then", "frozen_encoder", "precision", "start")
EXECUTION = ("executed_by", "steps", "averaged")

JPEG = (
    "Trained and measured on images that are stored as JPEG, which loses detail; accuracies on "
    "losslessly stored originals sit a little beside these."
)


def artefact_card(
    run: Trained, source: Trained | None, result: dict, caveats: tuple[str, ...] = CAVEATS
) -> Card:
    """Return the card of a model trained in this run.

    Args:
        run: the trained model.
        source: the source classifier, for an autoencoder; None for a classifier.
        result: the run's result.json.
        caveats: warnings for users, one sentence each.
    """
    assert run.record is not None
    identity = run.record["identity"]
    return Card(
        name=run.name,
        version=versions.next_version(run.name),
        kind="autoencoder" if source else "classifier",
        dataset=result["dataset"],
        model=_model(run),
        classifier=_model(source) if source else None,
        threat=result["threat"],
        training={
            "command": result["command"],
            "recipe_name": result["recipe"],
            "adversarial": identity["threat"] is not None,
            **{key: identity[key] for key in IDENTITY},
            **{key: run.record[key] for key in ("training_seconds", "examples_per_second")},
            "history": run.record["history"],
            # Present only if JAX executed the training (docs/compiled.md).
            **{key: run.record[key] for key in EXECUTION if key in run.record},
        },
        provenance=run.record["provenance"],
        parameters=run.model.count_params(),
        measured=card_measurements(run.name, result),
        caveats=(*caveats, JPEG) if result.get("stored_as") == "jpeg" else caveats,
    )


def _model(run: Trained) -> ModelConfig:
    return replace(run.config, name=run.name)


def save(run: Trained, card: Card, root: Path, source: Trained | None = None) -> None:
    """Save an artefact under root; it replaces an earlier artefact of the same run.

    Args:
        run: the trained model.
        card: from artefact_card.
        root: the run's own zoo folder.
        source: the source classifier, for an autoencoder.
    """
    shutil.rmtree(root / card.name, ignore_errors=True)
    zoo.save(run.model, card.name, card, root, classifier=source and source.model)


def card_measurements(model: str, result: dict) -> tuple[Measurement, ...]:
    """Return a result's measurements of one model, in the form of its card."""
    crafting = result["precision"]["crafting"]
    return tuple(measurement(m, crafting) for m in result["measurements"] if m["model"] == model)


def check_publishable(
    model: str, dataset: str | None, threat: ThreatModel, attacks: Sequence[AttackSpec]
) -> None:
    """Refuse to publish measurements that a card cannot distinguish from its own.

    A card identifies a measurement by the attack's name and number of steps. It does not record
    the ball, the data set or other parameters.

    Args:
        model: zoo name.
        dataset, threat: data set and ball of the measurements.
        attacks: attacks of the measurements.

    Raises:
        ValueError: unless data set and ball are the card's, and each attack is clean, PGD with the
            card's step size, or standard AutoAttack.
    """
    card = zoo.info(model)
    card_threat = threat_for(card.dataset) if card.threat is None else ThreatModel(**card.threat)
    if (dataset, threat) != (card.dataset, card_threat):
        raise ValueError(
            f"--publish: expected the data set and ball of the card of {model}, {card.dataset} and "
            f"{card_threat}; got {dataset} and {threat}."
        )
    sizes = {m.step_size for m in card.measured if m.attack == "pgd"}
    for spec in attacks:
        standard = spec.name == "clean" or (spec.name == "autoattack" and not spec.parameters)
        step_size = spec.parameters.get("step_size")
        is_pgd = spec.name == "pgd" and set(spec.parameters) == {"steps", "step_size"}
        if not standard and not (is_pgd and (not sizes or step_size in sizes)):
            size = f" of step_size {', '.join(map(str, sizes))}" if sizes else ""
            raise ValueError(
                "--publish: expected --attack to be clean, autoattack without parameters or pgd "
                f"with steps{size}; got {spec.title}."
            )


def unclaimed(model: str, measured: Sequence[Measurement], command: str) -> list[Measurement]:
    """Return the measurements that do not replace a figure of another command.

    Args:
        model: zoo name.
        measured: measurements of this command.
        command: the module of this command.
    """

    def key(m: Measurement) -> tuple:
        return m.defended, m.attack, m.steps

    others = {key(m) for m in zoo.info(model).measured if _owner(m) != command}
    for m in measured:
        if key(m) in others:
            steps = f"-{m.steps}" if m.steps else ""
            print(f"{m.attack}{steps}: the card keeps the figure that another command published.")
    return [m for m in measured if key(m) not in others]


def _owner(measured: Measurement) -> str:
    """Return the command that published a figure; older cards do not record it."""
    standard = "experiments.aaa" if measured.attack in ("clean", "pgd") else "experiments.evaluate"
    return measured.command or standard


def publish(measured: Mapping[str, Sequence[Measurement]]) -> None:
    """Write measurements (by model name) to the zoo's cards, and refresh the index."""
    for name, measurements in measured.items():
        artefact.add_measurements(versions.find(name).folder(), measurements)
    index.refresh(versions.ROOT, versions.INDEX)


def measurement(measured: dict, crafting: str, command: str | None = None) -> Measurement:
    """Return a row of a result as a card's measurement, with crafting precision and command."""
    crafted = None if measured["attack"] == "clean" else crafting
    return replace(Measurement.from_json(measured), crafting=crafted, command=command)
