"""Measure how robust a model is.

    python -m experiments.evaluate --model=aaa_mnist_ce_mse --attack=clean,pgd,autoattack
    python -m experiments.evaluate --model=my.keras --dataset=mnist --defend=aaa_mnist_ce_mse
    python -m experiments.evaluate --model=folder/ --npz=images.npz --norm=linf --eps=0.1

--model takes a zoo name (an autoencoder is put before its source classifier), a .keras or .h5 file,
or the folder of a SavedModel with a signature that returns logits. --npz takes a file with `images`
float32 [n, h, w, c] in [0, 1] and `labels` [n]. An attack's parameters follow its name:
pgd:steps=200:step_size=0.01. The run's folder holds result.json, and fallen.png with examples that
an attack made misclassified. An interrupted AutoAttack resumes.
"""

import itertools
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.progress import Progress

import zoo
from experiments.attack_specs import NAMES, AttackSpec, parse, stage_titles
from experiments.cards import check_publishable, measurement, publish, unclaimed
from experiments.command import define_alias, friendly, print_tables, record
from experiments.evaluation_data import of_data_set, of_npz, threat_of
from experiments.load_defence import load_defence, with_logits
from experiments.tables import tables
from keras_aaa.evaluation import AutoAttack, attack_all, autoattack, correct, resists
from keras_aaa.evaluation.corruptions import survive_corruptions
from keras_aaa.evaluation.doubts import Evidence, doubts
from keras_aaa.evaluation.sanity import Subject, report
from keras_aaa.evaluation.score import logits_in_batches
from keras_aaa.fast.precision import POLICIES, choose_precision
from keras_aaa.figures import eps_curve, image_grid
from keras_aaa.hashing import examples_hash, json_hash
from keras_aaa.norms import NORMS
from keras_aaa.results import Measurement, write_json

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model", None, "Zoo name, .keras or .h5 file, or SavedModel folder.", required=True
)
flags.DEFINE_string(
    "defend", None, "Autoencoder to put before the model: a zoo name, a .keras or .h5 file."
)
flags.DEFINE_list("attack", ["clean", "pgd"], f"Any of {', '.join(NAMES)}.")
flags.DEFINE_string("dataset", None, "Test set; by default the data set of the zoo's card.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
flags.DEFINE_string("npz", None, "An .npz file with your own examples, instead of a data set.")
flags.DEFINE_enum("norm", None, list(NORMS), "Norm of the threat model; the card's by default.")
flags.DEFINE_float(
    "eps",
    None,
    "Radius in image units ([0, 1]); by default from the zoo's card, or from the data set.",
    0,
)
flags.DEFINE_integer("eval_examples", 1000, "Number of examples, the first ones; 0 takes all.", 0)
define_alias("max_examples", "eval_examples")
flags.DEFINE_enum(
    "crafting",
    "float32",
    [*POLICIES, "auto"],
    "Precision of crafting; scoring is in float32.",
)
define_alias("precision", "crafting")
flags.DEFINE_bool(
    "corruptions", False, "Also measure accuracy on corrupted images of five severities."
)
flags.DEFINE_bool("sanity", False, "Look for signs of a weak evaluation, on 200 examples.")
flags.DEFINE_bool("publish", False, "Write the accuracies to the zoo's card.")
flags.DEFINE_string("workdir", None, "The run's folder; runs/evaluate_<model> by default.")

COMMAND = "experiments.evaluate"
SANITY_EXAMPLES, SANITY_STEPS, PICTURED = 200, 40, 8


def main(argv):
    _check_flags()
    defence = load_defence(FLAGS.model, FLAGS.defend)
    dataset = None if FLAGS.npz else FLAGS.dataset or defence.dataset
    if dataset is None and not FLAGS.npz:
        raise ValueError("--dataset: expected it or --npz, because the model is not of the zoo.")
    card_threat = defence.threat if dataset in (None, defence.dataset) else None
    threat = threat_of(FLAGS.dataset or defence.dataset, FLAGS.norm, FLAGS.eps, card_threat)
    specs = {spec.title: spec for spec in (parse(text, threat) for text in FLAGS.attack)}
    if len(specs) < len(FLAGS.attack):
        raise ValueError(f"--attack: expected each once, got {','.join(FLAGS.attack)}.")
    if FLAGS.publish:
        check_publishable(FLAGS.model, dataset, threat, list(specs.values()))
    count = FLAGS.eval_examples
    images, labels = (
        of_npz(Path(FLAGS.npz), count) if FLAGS.npz else of_data_set(dataset, FLAGS.data_dir, count)
    )
    if FLAGS.defend in zoo.list_models() and dataset not in (
        None,
        trained_on := zoo.info(FLAGS.defend).dataset,
    ):
        print(f"{FLAGS.defend} was trained on {trained_on}, but the images are of {dataset}.")
    precision = choose_precision(FLAGS.crafting)
    if precision == "bfloat16" and defence.classifier is None:
        print("A SavedModel is attacked in its own precision; --crafting is ignored.")
        precision = "float32"
    named = [Path(name).stem for name in (FLAGS.model, FLAGS.defend) if name]
    workdir = Path(FLAGS.workdir or "runs/evaluate_" + "_".join(named))
    workdir.mkdir(parents=True, exist_ok=True)  # an error here should precede hours of attacks
    for picture in ("fallen.png", "eps.png"):  # of an earlier run
        (workdir / picture).unlink(missing_ok=True)
    defence = with_logits(defence, images)
    clean_correct = correct(defence.model, images, labels)
    rows, masks, worst = [], {}, images.copy()
    for spec in specs.values():
        stages = _attack(spec, defence, images, labels, threat, precision, workdir)
        for stage, (mask, x_adv) in stages.items():
            masks[stage] = mask & clean_correct
            misclassified = clean_correct & ~mask
            worst[misclassified] = x_adv[misclassified]
            rows.append(_row(stage, spec, masks[stage]))
    if len(specs) > 1:
        all_masks = np.logical_and.reduce(list(masks.values()))
        rows.append(_row("worst case", AttackSpec("worst_case"), all_masks))
    rows = [row | {"classifier": defence.name, "defence": defence.title} for row in rows]
    of_attacks = [row for row in rows if row["row"] in specs]  # a card holds no other rows
    if FLAGS.corruptions:
        rows += _corrupted(defence, images, labels)
    result = record(
        COMMAND,
        dataset=dataset,
        threat=threat,
        crafting=precision if specs else None,
    ) | {
        "model": FLAGS.model,
        "identity": defence.identity,
        "measurements": rows,
        "sanity": [],
    }
    np.savez(workdir / "x_adv.npz", images=images, labels=labels, x_adv=worst)
    if FLAGS.sanity:
        evidence = _sanity(specs.values(), defence, images, labels, threat, masks, worst, workdir)
        _print_evidence(evidence)
    else:  # the attacks have warned already
        evidence = doubts(defence.model, images, labels)
    result["sanity"] = [asdict(e) for e in evidence]
    write_json(workdir / "result.json", result)
    _picture(defence, images, labels, worst, clean_correct, workdir / "fallen.png")
    print_tables(tables(result))
    print(f"In {workdir}: {', '.join(sorted(path.name for path in workdir.iterdir()))}.")
    if FLAGS.publish:
        publishable = [measurement(row, precision, COMMAND) for row in of_attacks]
        publish({FLAGS.model: unclaimed(FLAGS.model, publishable, COMMAND)})


def _check_flags() -> None:
    if not FLAGS.attack and not FLAGS.corruptions:
        raise ValueError("--attack: expected one or more, got none.")
    if FLAGS.publish and not FLAGS.attack:
        raise ValueError("--publish: expected one or more in --attack, got none.")
    if FLAGS.publish and (FLAGS.npz or FLAGS.defend or FLAGS.model not in zoo.list_models()):
        raise ValueError(
            "--publish: expected a model of the zoo on its own data set, without --npz or --defend."
        )


def _attack(spec, defence, images, labels, threat, precision, workdir):
    """Return stage -> (mask of survivors, adversarial images); only AutoAttack has many stages."""
    model = defence.model
    if spec.name == "clean":
        return {"clean": (correct(model, images, labels), images)}
    with Progress() as bar:
        task = bar.add_task(spec.name, total=len(labels))
        if spec.name == "autoattack":
            result = autoattack(
                model,
                images,
                labels,
                threat=threat,
                settings=AutoAttack(**spec.parameters),
                precision=precision,
                workdir=workdir
                / "autoattack"
                / _digest(defence, images, labels, spec, threat, precision),
                identity=defence.identity,
                on_block=lambda n: bar.advance(task, n),
            )
            titles = stage_titles(spec, threat)
            return {title: (result[stage], result["x_adv"]) for stage, title in titles.items()}
        parameters = dict(spec.parameters)
        seed = int(parameters.pop("seed", 0))
        x_adv = attack_all(
            model,
            spec.name,
            images,
            labels,
            threat=threat,
            parameters=parameters,
            seed=seed,
            precision=precision,
            on_batch=lambda n: bar.advance(task, n),
        )
    return {spec.title: (resists(model, x_adv, labels), x_adv)}


def _digest(defence, images, labels, spec, threat, precision) -> str:
    """Return the folder name for an AutoAttack's blocks, different for each model and setting."""
    key = {"attack": spec.title, "defence": defence.identity, "threat": asdict(threat)}
    return json_hash(key | {"precision": precision, "examples": examples_hash(images, labels)})


def _row(stage: str, spec: AttackSpec, mask: np.ndarray) -> dict:
    steps = spec.parameters.get("steps") if spec.name != "autoattack" else None
    measured = Measurement.of(
        mask, spec.name, steps=steps, step_size=spec.parameters.get("step_size")
    )
    return measured.to_row(table="evaluation", row=stage, parameters=spec.parameters)


def _corrupted(defence, images, labels) -> list[dict]:
    """Return rows of mean accuracies over a corruption's severities, with and without defence."""
    models = {defence.title: defence.model}
    if defence.autoencoder is not None:
        models[f"{defence.name} alone"] = defence.classifier
    rows = []
    for title, model in models.items():
        place = {"table": "corruptions", "classifier": defence.name, "defence": title}
        clean = ("clean", correct(model, images, labels)[None])
        for name, mask in (clean, *survive_corruptions(model, images, labels)):  # [severities, n]
            # Severities of one image are not independent, so the interval is for n images.
            as_one = Measurement(round(float(mask.mean()) * mask.shape[1]), mask.shape[1]).counts()
            row = _row(name, AttackSpec("corruption"), mask[0])
            rows.append(row | as_one | {"accuracy": float(mask.mean())} | place)
    return rows


def _sanity(specs, defence, images, labels, threat, masks, worst, workdir) -> list[Evidence]:
    n = min(SANITY_EXAMPLES, len(labels))
    without_gradient = {
        title: mask[:n]
        for title, mask in masks.items()
        if title.split(":")[0] in ("square", "spsa")
    }
    for spec in specs:  # misclassified by AutoAttack's Square, but not by the attack before it
        for (_, before), (stage, title) in itertools.pairwise(stage_titles(spec, threat).items()):
            if stage == "square":
                without_gradient[f"{spec.title} square"] = ~(masks[before] & ~masks[title])[:n]
    evidence = report(
        Subject(
            defence.model,
            images[:n],
            labels[:n],
            threat,
            steps=SANITY_STEPS,
            step_size=threat.default_step_size(SANITY_STEPS),
            base=defence.classifier if defence.autoencoder is not None else None,
            others=without_gradient,
        )
    )
    with np.load(workdir / "x_adv.npz") as stored:  # scored again after a reload
        again = resists(defence.model, stored["x_adv"], stored["labels"])
    expected = resists(defence.model, worst, labels)
    differ = float((again != expected).mean())
    warning = f"{differ:.1%} of the stored adversarial images score differently after a reload."
    evidence.append(
        Evidence("stored_images_score_again", {"differ": differ}, warning if differ else None)
    )
    curve = next(e for e in evidence if e.check == "falls_to_zero_with_eps").figures
    eps_curve(curve["eps"], curve["accuracy"], workdir / "eps.png")
    return evidence


def _print_evidence(evidence: list[Evidence]) -> None:
    console = Console()
    for e in evidence:
        if e.warning:
            console.print(f"[red]{e.check}: {e.warning}[/red]")
        else:
            console.print(f"{e.check}: no warning, which does not prove robustness.")


def _picture(defence, images, labels, worst, clean_correct, path: Path) -> None:
    moved = np.abs(worst - images).reshape(len(images), -1).max(axis=1) > 0
    shown = np.flatnonzero(clean_correct & moved)[:PICTURED]
    if not len(shown):
        return
    clean, adversarial = images[shown], worst[shown]
    predicted = logits_in_batches(defence.model, adversarial).argmax(axis=1)
    difference = 0.5 + (adversarial - clean) / 2
    image_grid(
        {"clean": clean, "adversarial": adversarial, "difference": difference},
        path,
        [
            f"{label}, taken for {prediction}"
            for label, prediction in zip(labels[shown], predicted, strict=True)
        ],
    )


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
