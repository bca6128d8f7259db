"""Importing the library changes nothing for the program that imports it."""

import subprocess
import sys

CHANGES_NOTHING = """
import logging, os, random, signal, warnings
import absl.logging, keras, numpy as np, tensorflow as tf, tensorflow_datasets as tfds
import cleverhans.tf2.utils
from tensorflow_datasets.core.utils import file_utils

def state():
    loggers = [logging.getLogger(), absl.logging.get_absl_logger(), tf.get_logger()]
    return {
        "warnings": list(warnings.filters),
        "loggers": [(l.level, list(l.filters), list(l.handlers)) for l in loggers],
        "folders of TFDS": list(file_utils.list_data_dirs()),
        "keras": (keras.config.floatx(), keras.config.dtype_policy().name,
                  keras.config.image_data_format()),
        "tensorflow": (tf.config.threading.get_inter_op_parallelism_threads(),
                       tf.config.functions_run_eagerly(), tf.config.optimizer.get_jit()),
        "environment": dict(os.environ),
        "random": (random.getstate(), np.random.get_state()[1].tolist()),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
    }

before = state()
import keras_aaa, zoo
from keras_aaa import attacks, black_box, data, evaluation, knn, models, serving, training
after = state()
print({name: (before[name], after[name]) for name in before if before[name] != after[name]})
data.first(data.load("mnist", "test"), 1)
assert after["folders of TFDS"] == list(file_utils.list_data_dirs())
"""


def test_importing_changes_no_global_state():
    run = subprocess.run(
        [sys.executable, "-c", CHANGES_NOTHING], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "{}"
    assert "FeatureConnector.dtype" not in run.stderr
