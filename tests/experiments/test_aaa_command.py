"""The AAA command as a user runs it, from its flags to its artefacts."""

import csv
import json
import resource

import numpy as np
import pytest
import tensorflow as tf

import zoo
from keras_aaa.models import defend
from tests.helpers.commands import Running

EXAMPLES = 20
SMOKE = [
    "--recipe=smoke",
    f"--eval_examples={EXAMPLES}",
    "--train_examples=256",
    "--validation_examples=50",
    "--train_classifiers",
    "--latent=16",
    "--width=4",
    "--latent_weight=0.5",
    "--average_decay=0.9",
]
NAME = "aaa_mnist_ce_mse_small"


def start(workdir, *arguments, **options):
    return Running("experiments.aaa", f"--workdir={workdir}", *arguments, **options)


def run(workdir, *arguments, **options):
    done = start(workdir, *arguments, **options).finish()
    return done.returncode, done.stdout, done.stderr


def newest(folder):
    """The path of the newest checkpoint, without its endings, or None."""
    found = [path.with_suffix("") for path in (folder / "checkpoints").glob("ckpt-*.index")]
    return max(found, key=lambda path: int(path.name.removeprefix("ckpt-")), default=None)


def final_weights(folder):
    reader = tf.train.load_checkpoint(newest(folder))
    return {
        name: reader.get_tensor(name)
        for name, dtype in reader.get_variable_to_dtype_map().items()
        if dtype == tf.float32
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A smoke run with a baseline, to its end."""
    workdir = tmp_path_factory.mktemp("aaa")
    code, out, err = run(workdir, *SMOKE, "--loss=ce_mse,mse", "--baseline")
    assert code == 0, err[-3000:]
    return workdir, out


def test_prints_the_time_it_takes_and_tables_beside_the_papers(finished):
    out = finished[1]
    assert "On this machine: about" in out
    assert "AAA Table 1" in out and "AAA Table 2" in out
    assert "(95.27)" in out and "(91.62)" in out and f"n = {EXAMPLES}" in out.replace("\n", " ")
    assert "examples a second" in out


def test_result_json_is_complete_and_adds_up(finished):
    result = json.loads((finished[0] / "result.json").read_text())
    rows = {(m["row"], m["classifier"]) for m in result["measurements"]}
    assert rows == {
        ("natural", "mnist_madry"),
        ("natural", "mnist_fc"),
        ("adversarial_training", "mnist_madry_pgd"),
        ("aaa_ce_mse", "mnist_madry"),
        ("aaa_ce_mse", "mnist_fc"),
        ("aaa_mse", "mnist_madry"),
        ("aaa_mse", "mnist_fc"),
    }
    for m in result["measurements"]:
        assert m["accuracy"] == m["correct"] / m["examples"] and m["examples"] == EXAMPLES
        assert m["interval95"][0] <= m["accuracy"] <= m["interval95"][1]
    assert result["provenance"]["versions"]["tensorflow"] == tf.__version__
    assert result["threat"] == {"norm": "linf", "eps": 0.3}
    assert result["models"][NAME]["identity"]["recipe"]["epochs"] == 2
    assert f"training {NAME}" in result["seconds"]
    assert "workdir" not in result["command"]


def test_folder_holds_pictures_curves_and_loadable_models(finished, digits):
    workdir = finished[0]
    for picture in ("training.png", "reconstructions.png"):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")
    with open(workdir / NAME / "log.csv") as file:
        assert len(list(csv.DictReader(file))) == 2
    root = workdir / "zoo"
    assert zoo.list_models(root=root) == [
        NAME,
        "aaa_mnist_mse_small",
        "mnist_fc",
        "mnist_madry",
        "mnist_madry_pgd",
    ]
    defended = defend(zoo.load(NAME, root=root), zoo.load("mnist_madry", root=root))
    measured = np.mean(np.argmax(defended(digits[0][:EXAMPLES]), axis=-1) == digits[1][:EXAMPLES])
    assert zoo.info(NAME, root=root).clean_accuracy == pytest.approx(measured)


def test_models_of_the_zoo_are_measured_without_training(tmp_path):
    code, out, err = run(
        tmp_path, "--from_zoo", "--loss=ce_mse", "--classifiers=mnist_madry",
        "--eval_examples=8", "--long_examples=4",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    assert "epoch 1/" not in out and not (tmp_path / "aaa_mnist_ce_mse").exists()
    result = json.loads((tmp_path / "result.json").read_text())
    described = result["models"]["aaa_mnist_ce_mse"]
    card = zoo.info("aaa_mnist_ce_mse")
    assert described["origin"] == "zoo" and described["commit"] == card.provenance["commit"]
    assert {m["row"] for m in result["measurements"]} == {"natural", "aaa_ce_mse"}
    assert {m["classifier"] for m in result["measurements"]} == {"mnist_madry"}
    counted = {(m["row"], m["steps"]): m["examples"] for m in result["measurements"]}
    assert counted["natural", 200] == counted["aaa_ce_mse", 40] == 8
    assert counted["aaa_ce_mse", 200] == 4
    assert (tmp_path / "training.png").exists()


@pytest.mark.slow
def test_a_classifier_beyond_the_paper_is_trained_and_measured_alone(tmp_path):
    code, out, err = run(
        tmp_path, "--recipe=smoke", "--loss=ce", "--classifiers=mnist_mixer", "--train_classifiers",
        "--latent=8", "--width=4", "--epochs=1", "--train_examples=64", "--eval_examples=4",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    assert (tmp_path / "mnist_mixer" / "run.json").exists()
    assert not (tmp_path / "mnist_madry").exists() and "mnist_madry: taken from the zoo" in out
    record = json.loads((tmp_path / "aaa_mnist_ce_small" / "run.json").read_text())
    assert set(record["identity"]["classifiers"]) == {"mnist_madry"}
    result = json.loads((tmp_path / "result.json").read_text())
    assert {(m["row"], m["classifier"]) for m in result["measurements"]} == {
        ("natural", "mnist_mixer"),
        ("aaa_ce", "mnist_mixer"),
    }


def test_an_ensemble_is_trained_on_all_classifiers(tmp_path):
    code, _, err = run(
        tmp_path, "--dataset=mnist", "--recipe=smoke", "--loss=", "--ensemble", "--latent=8",
        "--width=4", "--epochs=1", "--train_examples=128", "--eval_examples=10",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    record = json.loads((tmp_path / "aaa_mnist_ce_mse_small_ensemble" / "run.json").read_text())
    assert set(record["identity"]["classifiers"]) == {"mnist_madry", "mnist_fc"}
    result = json.loads((tmp_path / "result.json").read_text())
    rows = {(m["row"], m["classifier"]) for m in result["measurements"]}
    assert ("aaa_ensemble", "mnist_fc") in rows


def test_a_finished_run_is_not_trained_again(finished):
    # This holds for records that older versions wrote.
    path = finished[0] / "aaa_mnist_mse_small" / "run.json"
    record = json.loads(path.read_text())
    identity = record["identity"]
    del identity["loss"]["latent"], identity["frozen_encoder"]
    identity["recipe"] |= {"temperature": 1.0, "mse_weight": 1.0, "frozen_encoder": 0}
    path.write_text(json.dumps(record))
    before = {path: path.stat().st_mtime_ns for path in finished[0].glob("*/checkpoints/*")}
    code, out, _ = run(finished[0], *SMOKE, "--loss=ce_mse,mse", "--baseline")
    assert code == 0 and "epoch 1/" not in out
    assert before and before == {path: path.stat().st_mtime_ns for path in before}


def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(finished, tmp_path):
    folder = tmp_path / NAME
    started = start(tmp_path, *SMOKE, "--checkpoint_seconds=0")
    started.kill_when(lambda: newest(folder) is not None)  # in the middle of an epoch
    assert not (tmp_path / "result.json").exists()
    code, _, err = run(tmp_path, *SMOKE, "--checkpoint_seconds=0")
    assert code == 0, err[-3000:]
    assert "Resuming" in err
    expected, found = (final_weights(f / NAME) for f in (finished[0], tmp_path))
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], err_msg=name)


def test_a_classifier_goes_on_from_its_weights_in_the_zoo(tmp_path):
    code, _, err = run(
        tmp_path, "--recipe=smoke", "--loss=", "--classifiers=mnist_madry", "--train_classifiers",
        "--start_from=mnist_madry", "--epochs=1", "--eval_examples=8", "--train_examples=256",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    record = json.loads((tmp_path / "mnist_madry" / "run.json").read_text())
    assert list(record["identity"]["start"]) == ["mnist_madry"]
    # Ten steps from nothing would be far below.
    assert record["history"][0]["val_accuracy"] > 0.97


def test_the_encoder_is_trained_first(tmp_path):
    code, _, err = run(
        tmp_path, *SMOKE, "--encoder_epochs=1", "--epochs=1",
        "--eval_examples=4", "--train_examples=128",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    first = json.loads((tmp_path / "encoder" / "run.json").read_text())
    assert first["identity"]["sizes"]["autoencoder"] == "conv_dense_autoencoder"
    assert first["identity"]["recipe"]["epochs"] == 1 and first["identity"]["threat"]
    assert first["identity"]["loss"]["latent"] == 0
    second = json.loads(next(tmp_path.glob("aaa*/run.json")).read_text())
    assert second["identity"]["loss"]["latent"] == 0.5
    assert "val_robust_accuracy" in first["history"][0]
    card = zoo.Card.from_json(json.loads(next(tmp_path.glob("zoo/aaa*/*/card.json")).read_text()))
    assert list(card.training["start"]) == ["encoder"]


@pytest.mark.slow
def test_the_zoos_encoder_is_trained_further_and_then_the_decoder_alone(tmp_path):
    code, _, err = run(
        tmp_path, "--recipe=smoke", "--start_from=aaa_mnist_ce_mse", "--encoder_epochs=1",
        "--epochs=1", "--frozen_encoder=1", "--eval_examples=10", "--classifiers=mnist_madry",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    first = json.loads((tmp_path / "encoder" / "run.json").read_text())
    assert list(first["identity"]["start"]) == ["aaa_mnist_ce_mse"]
    assert first["identity"]["frozen_encoder"] is False
    second = json.loads((tmp_path / "aaa_mnist_ce_mse" / "run.json").read_text())
    assert list(second["identity"]["start"]) == ["encoder"]
    assert second["identity"]["frozen_encoder"] is True
    # Both go on from trained models: from nothing, ten steps end at 0.14 and 0.07.
    assert first["history"][0]["accuracy"] > 0.3
    assert second["history"][0]["accuracy"] > 0.7


@pytest.mark.slow
def test_the_paper_recipe_runs_two_steps(tmp_path):
    code, _, err = run(
        tmp_path, "--recipe=paper", "--epochs=1", "--train_examples=256", "--eval_examples=2",
        "--validation_examples=2", "--train_classifiers",
    )  # fmt: skip
    assert code == 0, err[-3000:]
    record = json.loads((tmp_path / "aaa_mnist_ce_mse" / "run.json").read_text())
    assert record["identity"]["recipe"]["attack_steps"] == 40
    assert record["identity"]["recipe"]["attack_step_size"] == 0.01
    assert record["identity"]["sizes"]["latent"] == 1024


def test_a_workdir_of_another_run_is_refused_with_the_fields(finished):
    code, _, err = run(finished[0], *SMOKE, "--learning_rate=0.5")
    assert code == 2
    assert "holds another run: recipe.learning_rate is 0.001 there and 0.5 here" in err
    assert "Traceback" not in err


def test_checkpoints_of_no_known_run_are_refused(tmp_path):
    folder = tmp_path / "mnist_madry"
    (folder / "checkpoints").mkdir(parents=True)
    code, _, err = run(tmp_path, *SMOKE, "--train_classifiers")
    assert code == 2 and f"{folder} holds checkpoints, but no run.json" in err
    assert not (folder / "run.json").exists()


def no_large_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_full_disk_is_one_line(tmp_path):
    code, _, err = run(tmp_path, *SMOKE, prepare=no_large_files)
    assert code == 2
    assert "error:" in err and "Traceback" not in err


def test_a_workdir_that_cannot_be_written_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    code, _, err = run(file / "run", *SMOKE)
    assert code == 2 and "Traceback" not in err and "error:" in err
