"""Jobs: trainings compiled ahead of time, from their folder to a result.

What a job runs is executed by other processes, as its users do: they have JAX, not TensorFlow.
"""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_aaa import data
from keras_aaa.models import build
from keras_aaa.models.surgery import two_headed
from keras_aaa.training import (
    LOSSES,
    AutoencoderTask,
    ClassifierTask,
    JointTask,
    TwoHeadedTask,
)
from keras_aaa.training.compiled import Job, export_training, result
from keras_aaa.training.compiled.job_files import digest, load_examples
from tests.helpers import HELPERS
from tests.helpers.small_trainings import RECIPE, THREAT, small_autoencoder, small_classifier

pytest.importorskip("jax")

LONGER = dataclasses.replace(RECIPE, epochs=4, train_examples=400)
NATURAL = dataclasses.replace(RECIPE, attack_steps=0)


def run(folder, *arguments, **environment):
    command = [sys.executable, folder / "run.py", *arguments]
    given = os.environ | {"JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=given)
    return done.returncode, done.stdout, done.stderr


def add(job, name, task, recipe, classifiers=()):
    """Enter a training into the job, as the commands do."""
    export_training(
        task,
        recipe,
        job.folder / name,
        precision="float32",
        fresh=True,
    )
    job.add(name, {"model": name, "classifiers": {}}, classifiers)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job of the common kinds: 200 steps of the adversarial training, two of the others."""
    keras.utils.set_random_seed(0)
    made = Job(tmp_path_factory.mktemp("compiled") / "job", "mnist")
    dropout = keras.Sequential([build("fc", hidden=(8,)), keras.layers.Dropout(0.5)])
    add(made, "natural", ClassifierTask(dropout), NATURAL)
    add(made, "adversarial", ClassifierTask(small_classifier(), threat=THREAT), LONGER)
    own = small_classifier()
    add(made, "classifier", ClassifierTask(own), NATURAL)
    before = [("classifier", own, True)]
    alone = AutoencoderTask(small_autoencoder(), (own,), LOSSES["ce_mse"], THREAT)
    add(made, "autoencoder", alone, RECIPE, before)
    classifiers = small_classifier(), small_classifier()
    frozen = [("one", classifiers[0], False), ("two", classifiers[1], False)]
    both = AutoencoderTask(small_autoencoder(), classifiers, LOSSES["ce_mse"], THREAT)
    add(made, "ensemble", both, RECIPE, frozen)
    made.write()
    return made.folder


@pytest.fixture(scope="module")
def finished(job):
    """The same job after its run, without TensorFlow."""
    code, out, errors = run(job, "--seconds=590")
    assert code == 0, errors
    return job, out


@pytest.mark.parametrize(
    "name", ["natural", "adversarial", "classifier", "autoencoder", "ensemble"]
)
def test_every_common_kind_of_task_runs(name, finished):
    check_run(name, *finished)


@pytest.mark.slow
def test_every_other_kind_of_task_runs(tmp_path):
    made = Job(tmp_path / "job", "mnist")
    ce, mse, ce_mse = (LOSSES[name] for name in ("ce", "mse", "ce_mse"))
    add(made, "joint", JointTask(build("joint_network", width=2), ce_mse, THREAT), RECIPE)
    alternating = JointTask(build("joint_network", width=2), ce, None, (mse, mse))
    add(made, "alternating", alternating, dataclasses.replace(NATURAL, average_decay=0.0))
    autoencoder, classifier = small_autoencoder(), small_classifier()
    loss = dataclasses.replace(ce, latent=0.5)
    models = two_headed(autoencoder, 10), autoencoder, (classifier,)
    heads = TwoHeadedTask(*models, loss, THREAT)
    add(made, "two_headed", heads, RECIPE, [("one", classifier, False)])
    made.write()
    code, out, errors = run(made.folder, "--seconds=590")
    assert code == 0, errors
    for name in ("joint", "alternating", "two_headed"):
        check_run(name, made.folder, out)


def check_run(name, folder, out):
    about = json.loads((folder / "result" / name / "weights" / "about.json").read_text())
    steps = 200 if name == "adversarial" else 2
    assert about["progress"]["step"] == steps
    *_, row = about["progress"]["history"]
    assert np.isfinite(row["loss"]) and 0 <= row["val_accuracy"] <= 1
    adversarial = name not in ("natural", "classifier", "alternating")
    assert ("val_robust_accuracy" in row) == adversarial
    assert ("averaged_val_accuracy" in row) == (name != "alternating")
    assert f"{name}: step {steps} of {steps}" in out


def test_a_job_stands_before_the_classifier_that_it_trained(finished):
    folder, _ = finished
    weights, about = result(folder, "classifier", {"model": "classifier", "classifiers": {}})
    identity = {"model": "autoencoder", "classifiers": {"classifier": about["weights"]}}
    autoencoder, _ = result(folder, "autoencoder", identity)
    model = small_autoencoder()
    model.set_weights(autoencoder)
    classifier = small_classifier()
    classifier.set_weights(weights)
    identity["classifiers"] = {"classifier": "0" * 64}
    with pytest.raises(ValueError, match="was trained with classifiers"):
        result(folder, "autoencoder", identity)


def test_a_result_is_of_its_own_job_and_command(finished, tmp_path):
    folder, _ = finished
    identity = {"model": "natural", "classifiers": {}}
    with pytest.raises(ValueError, match="exported with model 'natural'; the command says"):
        result(folder, "natural", identity | {"model": "other"})
    with pytest.raises(ValueError, match="expected a job that trains nothing; has natural"):
        result(folder, "nothing", identity)
    copied = tmp_path / "job"
    shutil.copytree(folder, copied)
    training = copied / "natural" / "training.json"
    training.write_text(training.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match="not the file that the job"):
        result(copied, "natural", identity)
    job = json.loads((copied / "job.json").read_text())
    shutil.copytree(folder / "natural", copied / "natural", dirs_exist_ok=True)
    (copied / "job.json").write_text(json.dumps(job | {"more": 1}))
    with pytest.raises(ValueError, match="made by another job's files"):
        result(copied, "natural", identity)
    shutil.rmtree(copied / "result")
    with pytest.raises(ValueError, match="no result of natural yet"):
        result(copied, "natural", identity)


def test_a_finished_job_says_so(finished):
    folder, _ = finished
    code, out, _ = run(folder, "--only=natural")
    assert code == 0 and "natural: done" in out and "compiling" not in out


def test_killed_and_resumed_it_ends_with_the_same_weights(finished, tmp_path):
    folder, _ = finished
    arguments = ["--only=adversarial", "--save_seconds=0", f"--result={tmp_path}"]
    command = [sys.executable, folder / "run.py", *arguments]
    process = subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    state = tmp_path / "adversarial" / "state" / "about.json"
    ends = time.monotonic() + 300
    while not state.exists() and time.monotonic() < ends:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    time.sleep(0.5)  # some states later
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "adversarial" / "weights").exists()
    code, _, errors = run(folder, *arguments)
    assert code == 0, errors
    quiet, killed = (
        json.loads((path / "adversarial" / "weights" / "about.json").read_text())
        for path in (folder / "result", tmp_path)
    )
    assert quiet["sha256"] == killed["sha256"]
    # How often it validated depends on the machine's speed; the last epoch always.
    rows = [each["progress"]["history"][-1] for each in (quiet, killed)]
    assert rows[0]["val_loss"] == rows[1]["val_loss"]


def test_a_loop_on_the_device_takes_the_same_steps(finished, tmp_path):
    job, _ = finished
    folder = tmp_path / "job"
    shutil.copytree(job, folder, ignore=shutil.ignore_patterns("result"))
    script = (folder / "job_training.py").read_text()
    looped = script.replace('self.loops = jax.default_backend() != "cpu"', "self.loops = True")
    assert looped != script
    rewrite(folder, "job_training.py", looped.encode())
    code, _, errors = run(folder, "--only=adversarial")
    assert code == 0, errors
    losses = [last_row(path / "result", "adversarial")["val_loss"] for path in (job, folder)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_two_devices_compute_as_one(job, tmp_path):
    arguments = ["--only=classifier,adversarial"]
    hosts = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    for count, environment in ((1, {}), (2, hosts)):
        where = f"--result={tmp_path / str(count)}"
        code, out, errors = run(job, *arguments, where, f"--devices={count}", **environment)
        assert code == 0, errors
        assert f"{count} x " in out
    for name in ("classifier", "adversarial"):
        losses = [last_row(tmp_path / str(n), name)["val_loss"] for n in (1, 2)]
        np.testing.assert_allclose(*losses, rtol=1e-3)


def last_row(results, name):
    """The figures of a training's last epoch."""
    about = json.loads((results / name / "weights" / "about.json").read_text())
    return about["progress"]["history"][-1]


def rewrite(folder, name, content):
    """Change a file of a job as if it had been written so."""
    (folder / name).write_bytes(content)
    described = json.loads((folder / "job.json").read_text())
    described["files"][name] = digest(content)
    (folder / "job.json").write_text(json.dumps(described))


def test_what_is_wrong_with_a_job_or_its_machine_is_one_line(finished, tmp_path):
    job, _ = finished
    folder = tmp_path / "job"
    shutil.copytree(job, folder, ignore=shutil.ignore_patterns("result"))

    def error(*arguments, **environment):
        code, _, errors = run(folder, *arguments, **environment)
        assert code in (2, 75), errors
        return errors.strip().splitlines()[-1]

    assert "no training 'nothing'; there are natural" in error("--only=nothing")
    assert "--devices: expected 1 to 1, got 3" in error("--devices=3")
    assert "before the first step" in error("--seconds=1")
    hosts = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    assert "cannot be divided among 3 devices" in error("--only=natural", **hosts)
    assert "first train classifier" in error("--only=autoencoder")
    shutil.copytree(job / "result" / "natural", tmp_path / "other" / "natural")
    about = tmp_path / "other" / "natural" / "weights" / "about.json"
    about.write_text(about.read_text().replace('"job": "', '"job": "0'))
    assert "another job's result" in error("--only=natural", f"--result={tmp_path / 'other'}")
    described = json.loads((folder / "natural" / "training.json").read_text()) | {
        "stablehlo": "99.0.0"
    }
    rewrite(folder, "natural/training.json", json.dumps(described).encode())
    assert "written in StableHLO 99.0.0" in error("--only=natural")
    (tmp_path / "absent" / "jax").mkdir(parents=True)
    (tmp_path / "absent" / "jax" / "__init__.py").write_text("raise ImportError('no jax here')")
    assert "expected JAX" in error(PYTHONPATH=str(tmp_path / "absent"))
    (folder / "natural" / "step_0.stablehlo.gz").write_bytes(b"")
    assert "natural/step_0.stablehlo.gz: not the file" in error()
    (folder / "natural" / "step_0.stablehlo.gz").unlink()
    assert "natural/step_0.stablehlo.gz: this file of the job is missing" in error()
    with pytest.raises(ValueError, match="expected a new folder"):
        Job(folder, "mnist")


def test_without_jax_no_job_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ValueError, match=r"expected jax>=0\.10 .* found none"):
        Job(tmp_path / "job", "mnist")
    assert not (tmp_path / "job").exists()


def test_a_module_lowers_for_gpus(job):
    script = HELPERS / "jax_lower.py"
    done = subprocess.run(
        [sys.executable, script, job, "ensemble"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    # Compilers of GPUs refuse what is neither JAX's nor StableHLO's.
    assert set(done.stdout.split()) <= {"stablehlo", "func", "sdy", "chlo"}


def test_images_are_those_of_the_data_set(job):
    described = json.loads((job / "job.json").read_text())
    found = load_examples(job, described["train_examples"])
    for split, count in (("train", 400), ("validation", 10)):
        images, labels = data.first(data.load("mnist", split), count)
        np.testing.assert_array_equal(found[split] / np.float32(255), images)
        np.testing.assert_array_equal(found[f"{split}_labels"], labels)
