"""Measure which models misclassify the adversarial examples of other models.

    python -m experiments.transfer --dataset=mnist
    python -m experiments.transfer --dataset=mnist --models=mnist_fc,mine.keras,aaa_mnist_ce_mse
    python -m experiments.transfer --dataset=mnist --attack=pgd:steps=40:step_size=0.01

Each row crafts adversarial examples with one model, each column classifies them with another. The
diagonal is a white-box attack. The models are the zoo's classifiers for the data set, or those of
--models, as experiments.evaluate takes them. The run's folder holds result.json. An interrupted run
resumes after the last measured cell.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from absl import app, flags
from rich.progress import Progress

import zoo
from experiments.attack_specs import AttackSpec, parse
from experiments.command import friendly, print_tables, record
from experiments.evaluation_data import of_data_set, threat_of
from experiments.load_defence import NamedDefence, load_defence, with_logits
from experiments.tables import tables
from keras_aaa.attacks import ATTACKS
from keras_aaa.evaluation import attack_all, correct
from keras_aaa.fast.precision import POLICIES, choose_precision
from keras_aaa.hashing import examples_hash
from keras_aaa.norms import NORMS
from keras_aaa.results import Measurement, cached, write_json
from keras_aaa.threat_model import ThreatModel

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "mnist", "Test set, by its tensorflow-datasets name.")
flags.DEFINE_list(
    "models",
    [],
    "Zoo names, .keras or .h5 files, or SavedModel folders; by default the zoo's classifiers for "
    "the data set.",
)
flags.DEFINE_string("attack", "transfer_pgd", "Attack, with its parameters.")
flags.DEFINE_enum("norm", None, list(NORMS), "Norm of the threat model; the data set's by default.")
flags.DEFINE_float("eps", None, "Radius in image units; the data set's by default.", 0)
flags.DEFINE_integer("eval_examples", 1000, "Number of examples, the first ones; 0 takes all.", 0)
flags.DEFINE_enum(
    "crafting", "float32", [*POLICIES, "auto"], "Precision of crafting; scoring is in float32."
)
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
flags.DEFINE_string("workdir", None, "The run's folder; runs/transfer_<dataset> by default.")


def main(argv):
    threat = threat_of(FLAGS.dataset, FLAGS.norm, FLAGS.eps)
    spec = parse(FLAGS.attack, threat)
    if spec.name not in ATTACKS:
        raise ValueError(f"--attack: expected one that crafts images by itself, got {spec.name}.")
    examples = of_data_set(FLAGS.dataset, FLAGS.data_dir, FLAGS.eval_examples)
    models = {name: with_logits(_load(name), examples[0]) for name in _names()}
    workdir = Path(FLAGS.workdir or f"runs/transfer_{FLAGS.dataset}")
    precision = choose_precision(FLAGS.crafting)
    settings = {
        "examples": examples_hash(*examples),
        "attack": asdict(spec),
        "threat": asdict(threat),
        "precision": precision,
    }
    # row -> (the attack, the model that crafts, its images); an attack runs only if a cell of its
    # row is not cached
    crafting = {"clean": (AttackSpec("clean"), None, lambda: examples[0])}
    for name, model in models.items():
        craft = functools.partial(_craft, model, spec, examples, threat, precision)
        crafting[name] = (spec, model.identity, functools.cache(craft))
    rows = []
    for row, (attack, source, craft) in crafting.items():
        for column, target in models.items():
            counts = cached(
                workdir / "cached",
                settings | {"source": source, "target": target.identity},
                functools.partial(_count, target, examples, craft),
                name=f"{Path(row).stem}_on_{Path(column).stem}",
            )
            lengths = {key: attack.parameters.get(key) for key in ("steps", "step_size")}
            measured = Measurement(**counts, attack=attack.name, **lengths)
            rows.append(measured.to_row(table="transfer", row=row, defence=column))
    result = record(
        "experiments.transfer", dataset=FLAGS.dataset, threat=threat, crafting=precision
    )
    result |= {"attack": spec.title, "models": list(models), "measurements": rows}
    write_json(workdir / "result.json", result)
    print_tables(tables(result))


def _names() -> list[str]:
    """Return the names of the models, each once.

    Raises:
        ValueError: if a name is given twice, or the zoo has no classifier for the data set.
    """
    names = FLAGS.models or zoo.list_models(FLAGS.dataset, "classifier")
    if not names:
        raise ValueError(f"--models: expected them, the zoo has none for {FLAGS.dataset}.")
    if len(set(names)) < len(names):
        raise ValueError(f"--models: expected each once, got {','.join(names)}.")
    return names


def _load(name: str) -> NamedDefence:
    defence = load_defence(name, None)
    if defence.dataset not in (None, FLAGS.dataset):
        raise ValueError(
            f"--models: expected models for {FLAGS.dataset}, {name} is for {defence.dataset}."
        )
    return defence


def _craft(source: NamedDefence, spec: AttackSpec, examples, threat: ThreatModel, precision: str):
    """Return the adversarial images of a model."""
    parameters = dict(spec.parameters)
    seed = int(parameters.pop("seed", 0))
    with Progress() as bar:
        task = bar.add_task(source.title, total=len(examples[1]))
        return attack_all(
            source.model,
            spec.name,
            *examples,
            threat=threat,
            parameters=parameters,
            seed=seed,
            precision=precision,
            on_batch=lambda n: bar.advance(task, n),
        )


def _count(target: NamedDefence, examples, craft: Callable[[], np.ndarray]) -> dict[str, int]:
    """Return how many examples a model classifies correctly, both clean and as crafted images."""
    images, labels = examples
    mask = correct(target.model, images, labels) & correct(target.model, craft(), labels)
    return {"correct": int(mask.sum()), "examples": len(mask)}


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
