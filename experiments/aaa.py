"""Adversarially trained autoencoders (AAA): train, attack, compare with the paper.

    python -m experiments.aaa --dataset=mnist --recipe=fast

Paper: AAA Tables 1 to 3 (MNIST).
"""

import sys
from pathlib import Path

from absl import app, flags

from experiments.common_flags import define_recipe_flags, define_run_flags, overridden
from experiments.recipes import recipe_for
from experiments.runs import Setting, train_in_folder
from experiments.studies import study_for
from keras_aaa.models.precision import choose_precision
from keras_aaa.threat_model import threat_for
from keras_aaa.training import LOSSES, Loss
from keras_aaa.training.distribution import choose_strategy

FLAGS = flags.FLAGS

define_run_flags()
define_recipe_flags()
flags.DEFINE_list("loss", ["ce_mse"], f"Losses to train an autoencoder with: {', '.join(LOSSES)}.")
flags.DEFINE_float("mse_weight", 1.0, "Weight of the mse term in ce_mse.", 0.0, 1e6)
flags.DEFINE_bool("baseline", False, "Also train the adversarial-training baseline.")
flags.DEFINE_bool("train_classifiers", False, "Train the natural classifiers, zoo or not.")


def main(argv):
    study = study_for(FLAGS.dataset)
    threat = threat_for(FLAGS.dataset)
    setting = Setting(
        dataset=FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        precision=choose_precision(FLAGS.precision),
        strategy=choose_strategy(FLAGS.strategy),
        workdir=Path(FLAGS.workdir or f"runs/{FLAGS.dataset}_{FLAGS.recipe}"),
    )

    def recipe(job):
        return overridden(recipe_for(FLAGS.dataset, job, FLAGS.recipe))

    classifiers = {
        name: train_in_folder(setting, name, architecture, recipe("natural"))[0]
        for name, architecture in study.classifiers.items()
    }
    source = classifiers[study.source]
    for name in FLAGS.loss:
        loss = Loss(1.0, FLAGS.mse_weight) if name == "ce_mse" else LOSSES[name]
        train_in_folder(
            setting,
            f"aaa_{FLAGS.dataset}_{name}",
            study.autoencoder,
            recipe("aaa"),
            loss=loss,
            threat=threat,
            classifiers=(source,),
        )
    if FLAGS.baseline:
        train_in_folder(
            setting,
            f"{study.source}_pgd",
            study.classifiers[study.source],
            recipe("adversarial"),
            threat=threat,
        )


if __name__ == "__main__":
    sys.exit(app.run(main))
