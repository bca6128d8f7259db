"""Which models a run takes part with, without training any."""

import dataclasses

import tensorflow as tf

from experiments.aaa_models import Models, Plan, add_robust
from experiments.runs import Setting
from experiments.studies import study_for
from keras_aaa.threat_model import threat_for


def test_baselines_that_the_zoo_lacks_are_said_and_left_out(tmp_path, capsys):
    study = dataclasses.replace(study_for("mnist"), baselines=("mnist_madry", "mnist_fc"))
    setting = Setting("mnist", None, "float32", tf.distribute.get_strategy(), tmp_path, 60.0)
    plan = Plan(
        losses={},
        autoencoder=study.autoencoder,
        variant=(),
        recipes={"adversarial": None},
        baseline=True,
        train_classifiers=(),
        from_zoo=True,
        start_from=None,
        encoder_epochs=0,
    )
    models = Models({})
    add_robust(setting, study, models, plan, threat_for("mnist"))
    assert [run.name for run in models.all()] == ["mnist_madry_pgd"]
    assert "mnist_fc_pgd: not in the zoo, left out." in capsys.readouterr().out
