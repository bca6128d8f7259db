"""The zoo's pages in Markdown, generated from the cards."""

import json
from collections.abc import Sequence

from keras_aaa.results import Measurement
from zoo.card import Card

NOTE = "<!-- made from card.json by python -m zoo index; do not edit -->\n"


def zoo_page(cards: Sequence[Card]) -> str:
    """Return the list of all models."""
    lines = [
        NOTE,
        "# The zoo",
        "",
        "| model | kind | data set | clean | robust | at eps | under | n | parameters |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for card in cards:
        clean = _percent(card.clean_accuracy)
        robust = card.strongest_attack
        eps = f"{card.threat['eps']:.4g}" if card.threat else ""
        lines.append(
            f"| [{card.name}]({card.name}/README.md) {card.version} | {card.kind} | "
            f"{card.dataset} | {clean} | {_percent(robust.accuracy)} | {eps} | {_attack(robust)} | "
            f"{robust.examples:,} | {card.parameters:,} |"
        )
    lines += [
        "",
        "Robust: the lowest accuracy measured end-to-end under any attack on the card, at the eps "
        "beside it (images in [0, 1]). Rows of different eps do not compare.",
    ]
    return "\n".join(lines) + "\n"


def model_page(card: Card) -> str:
    """Return one model's page."""
    threat = card.threat
    article = "An" if card.kind[0] in "aeiou" else "A"
    inside = f", carrying its source classifier `{card.classifier.name}`" if card.classifier else ""
    lines = [
        NOTE,
        f"# {card.name}, version {card.version}",
        "",
        f"{article} {card.kind} for {card.dataset} (`{card.model.architecture}`, "
        f"{card.parameters:,} parameters){inside}.",
        "",
    ]
    if threat:
        lines += [
            f"Threat model: {threat['norm']}, eps {threat['eps']:.4g} (images in [0, 1]).",
            "",
        ]
    lines += [
        "| classifier | attack | accuracy | 95 % interval | n | paper |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(m) for m in card.measured]
    lines += ["", f"Trained by `{card.training.get('command', '')}`", ""]
    if recipe := card.training.get("recipe"):
        lines += [f"Recipe: `{json.dumps(recipe)}`", ""]
    lines += [f"Measure again: `python -m zoo verify {card.name}`", "", "Caveats:", ""]
    lines += [f"- {caveat}" for caveat in card.caveats]
    return "\n".join(lines) + "\n"


def _attack(m: Measurement) -> str:
    return m.attack + (f"-{m.steps}" if m.steps else "")


def _row(m: Measurement) -> str:
    attack = _attack(m) + (f", step {m.step_size:.4g}" if m.steps else "")
    low, high = m.interval95
    paper = _percent(m.paper) if m.paper is not None else ""
    return (
        f"| {m.defended} | {attack} | {_percent(m.accuracy)} | {_percent(low)} to {_percent(high)} "
        f"| {m.examples:,} | {paper} |"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
