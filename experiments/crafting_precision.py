"""Compare crafting in bfloat16 with crafting in float32: same attack, same examples.

    python -m experiments.crafting_precision --model=aaa_mnist_ce_mse --eval_examples=2000

Both are scored in float32. Takes two minutes on two cores with bfloat16.
"""

import sys
from pathlib import Path

from absl import app, flags

import zoo
from experiments.aaa.studies import study_for
from experiments.command import friendly, print_tables, record
from experiments.measure import measure
from experiments.tables import tables
from keras_aaa import data, defend
from keras_aaa.evaluation import PgdTest
from keras_aaa.fast.precision import POLICIES
from keras_aaa.results import write_json
from keras_aaa.threat_model import threat_for

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "aaa_mnist_ce_mse", "An autoencoder of the zoo.")
flags.DEFINE_integer("eval_examples", 2000, "Number of test examples, the first ones.", 1)
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS sets; TFDS_DATA_DIR by default.")
flags.DEFINE_string("workdir", "runs/crafting_precision", "The folder for result.json.")


def main(argv):
    card = zoo.info(FLAGS.model)
    if card.classifier is None:
        raise ValueError(f"--model: expected an autoencoder, {FLAGS.model} is a {card.kind}.")
    study, threat = study_for(card.dataset), threat_for(card.dataset)
    test = PgdTest(study.test_steps[:1], study.test_step_size)
    defence = defend(zoo.load(FLAGS.model), zoo.load(card.classifier.name))
    images, labels = data.first(
        data.load(card.dataset, "test", FLAGS.data_dir), FLAGS.eval_examples
    )
    rows = []
    for precision in POLICIES:
        measured = measure(
            f"{FLAGS.model}_{precision}",
            defence,
            images,
            labels,
            threat=threat,
            test=test,
            precision=precision,
            cache=Path(FLAGS.workdir) / "measured",
        )
        row = {"table": f"crafting_{card.dataset}", "row": f"crafted_{precision}"}
        row |= {"model": FLAGS.model, "classifier": card.classifier.name}
        rows += [{**row, **accuracy, "paper": None} for accuracy in measured["accuracies"]]
    result = record(
        "experiments.crafting_precision", dataset=card.dataset, threat=threat, crafting="both"
    ) | {"measurements": rows}
    write_json(Path(FLAGS.workdir) / "result.json", result)
    print_tables(tables(result))


if __name__ == "__main__":
    sys.exit(app.run(friendly(main)))
