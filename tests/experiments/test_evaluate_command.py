"""experiments.evaluate as a user runs it, on a .keras file, a SavedModel and an .npz."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from experiments.cards import unclaimed
from experiments.evaluation_data import threat_of
from experiments.load_defence import load_defence, with_logits
from keras_aaa.attacks import fgsm
from keras_aaa.evaluation.corruptions import CORRUPTIONS
from keras_aaa.models import build
from keras_aaa.results import Measurement
from keras_aaa.serving import export_classifier
from keras_aaa.threat_model import ThreatModel, threat_for
from tests.helpers.commands import run


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """A fitted classifier as .keras, .h5 and SavedModel, and its examples as .npz."""
    folder = tmp_path_factory.mktemp("evaluate")
    keras.utils.set_random_seed(0)
    model = build("fc", hidden=(32,))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*digits, epochs=40, verbose=0)
    model.save(folder / "mine.keras")
    model.save(folder / "mine.h5")
    export_classifier(model, folder / "saved")
    np.savez(folder / "digits.npz", images=digits[0], labels=digits[1])
    return folder


def evaluate(files, workdir, *arguments):
    return run("experiments.evaluate", f"--workdir={workdir}", *arguments)


@pytest.mark.parametrize("kind", ["mine.keras", "saved"])
def test_several_attacks_on_a_file(files, tmp_path, kind):
    done = evaluate(
        files,
        tmp_path / "new",
        f"--model={files / kind}",
        f"--npz={files / 'digits.npz'}",
        "--norm=linf",
        "--eps=0.1",
        "--attack=clean,fgsm,pgd:steps=5,square:queries=20,autoattack:steps=5:targets=2:queries=20",
        "--max_examples=40",
        "--sanity",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "new" / "result.json").read_text())
    accuracies = {row["row"]: row["accuracy"] for row in result["measurements"]}
    assert "--eval_examples=40" in result["command"]  # --max_examples is its old name
    assert accuracies["clean"] == 1.0
    assert accuracies["worst case"] <= min(accuracies.values())
    autoattack = "autoattack:steps=5:targets=2:queries=20"
    assert accuracies[autoattack] <= accuracies[f"{autoattack} apgd_ce"] < 1.0
    assert all(row["examples"] == 40 for row in result["measurements"])
    assert len(result["sanity"]) == 10
    assert (tmp_path / "new" / "fallen.png").exists() and (tmp_path / "new" / "eps.png").exists()
    with np.load(tmp_path / "new" / "x_adv.npz") as stored:
        assert np.abs(stored["x_adv"] - stored["images"]).max() <= 0.1 + 1e-6
    assert "Traceback" not in done.stderr
    assert "worst case" in done.stdout
    assert f"In {tmp_path / 'new'}: " in done.stdout.replace("\n", "")


def test_corruptions_with_the_defence_and_without(files, tmp_path):
    done = evaluate(
        files,
        tmp_path / "new",
        f"--model={files / 'mine.keras'}",
        "--defend=aaa_mnist_ce_mse",
        "--attack=clean",
        "--max_examples=20",
        "--corruptions",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "new" / "result.json").read_text())["measurements"]
    of_attacks, corrupted = (
        [row for row in rows if row["table"] == table] for table in ("evaluation", "corruptions")
    )
    assert [row["row"] for row in of_attacks] == ["clean"]
    for subject in ("aaa_mnist_ce_mse before mine", "mine alone"):
        found = {row["row"]: row for row in corrupted if row["defence"] == subject}
        assert set(found) == {*CORRUPTIONS, "clean"}
        assert all(row["examples"] == 20 for row in found.values())  # whose means they are
    (clean,) = of_attacks
    same = next(row for row in corrupted if row["row"] == "clean")
    assert (clean["accuracy"], clean["interval95"]) == (same["accuracy"], same["interval95"])
    assert "Accuracy on corrupted images, means of five severities; n = 20" in done.stdout
    alone = ["--dataset=mnist", "--attack=", "--max_examples=5", "--corruptions"]
    done = evaluate(files, tmp_path / "alone", f"--model={files / 'mine.keras'}", *alone)
    assert done.returncode == 0 and "Accuracy under attack" not in done.stdout


def test_an_attack_with_several_settings_has_a_row_for_each(files, tmp_path):
    done = evaluate(
        files,
        tmp_path,
        f"--model={files / 'mine.keras'}",
        f"--npz={files / 'digits.npz'}",
        "--norm=linf",
        "--eps=0.1",
        "--attack=clean,pgd:steps=20,pgd:steps=1:step_size=0.001",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "result.json").read_text())["measurements"]
    accuracies = {row["row"]: row["accuracy"] for row in rows}
    strong, weak = "pgd:steps=20:step_size=0.0125", "pgd:steps=1:step_size=0.001"
    assert list(accuracies) == ["clean", strong, weak, "worst case"]
    assert accuracies["worst case"] == accuracies[strong] < accuracies[weak]
    # A second model in the same folder, where nothing falls: no picture of the first one's.
    (tmp_path / "fallen.png").write_bytes(b"old")
    again = evaluate(
        files,
        tmp_path,
        "--model=mnist_madry_pgd",
        "--attack=autoattack:steps=1:targets=1:queries=1",
        "--max_examples=3",
        "--eps=0.001",
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert not (tmp_path / "fallen.png").exists()


def test_blocks_of_autoattack_belong_to_one_model(files, tmp_path):
    """The same weights with another activation, and a SavedModel of other weights, are others."""
    model = keras.models.load_model(files / "mine.keras")
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.get_layer(index=-2).activation = keras.activations.tanh
    other.save(tmp_path / "other.keras")
    other.set_weights([0.5 * w for w in model.get_weights()])
    export_classifier(other, tmp_path / "saved")
    identities = {
        load_defence(str(path), None).identity
        for path in (files / "mine.keras", tmp_path / "other.keras", files / "saved",
                     tmp_path / "saved")
    }  # fmt: skip
    assert len(identities) == 4


def test_answers_that_are_probabilities_are_attacked_by_their_logarithms(files, tmp_path, digits):
    model = keras.models.load_model(files / "mine.keras")
    soft = keras.Model(model.inputs, keras.ops.softmax(model.outputs[0]))
    soft.save(tmp_path / "soft.keras")
    tf.saved_model.save(soft, str(tmp_path / "saved"), signatures=tf.function(
        lambda images: {"answers": soft(images)},
        input_signature=[tf.TensorSpec((None, 28, 28, 1))],
    ))  # fmt: skip
    for path in (tmp_path / "soft.keras", tmp_path / "saved"):
        answers = with_logits(load_defence(str(path), None), digits[0]).model(digits[0])
        expected = tf.nn.log_softmax(model(digits[0]))
        # Logits are the same up to a constant, which log_softmax removes.
        np.testing.assert_allclose(tf.nn.log_softmax(answers), expected, atol=1e-4)
    with pytest.warns(UserWarning, match="are probabilities, not logits"):
        ending = keras.Model(model.inputs, keras.layers.Softmax()(model.outputs[0]))
        fgsm(ending, *digits, threat=ThreatModel("linf", 0.1))


def saved_model(folder, shape, dtype=tf.float32, answer=tf.float32):
    """Write a SavedModel that takes images of a shape and type; return its folder."""
    module = tf.Module()
    module.serve = tf.function(
        lambda images: {
            "logits": tf.zeros((tf.shape(images)[0], 10), answer)
            + tf.cast(tf.reduce_sum(images), answer)
        },
        input_signature=[tf.TensorSpec(shape, dtype, "images")],
    )
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (None, 28, 28, 1), "dtype": tf.float64}, "input images .* of float64, float64"),
        ({"shape": (None, 28, 28, 1), "dtype": tf.uint8}, r"of uint8, uint8 \(None, 28, 28, 1\)"),
        ({"shape": (None, 784)}, r"with 2 axes, float32 \(None, 784\)"),
        ({"shape": (32, 28, 28, 1)}, r"for 32 images at a time, float32 \(32, 28, 28, 1\)"),
        ({"shape": (None, 1, 28, 28)}, r"channels first, float32 \(None, 1, 28, 28\)"),
        ({"shape": (None, 28, 28, 1), "answer": tf.int64}, "output logits .* of int64"),
        ({"shape": (None, 14, 56, 1)}, r"takes images \(14, 56, 1\), got \(28, 28, 1\)"),
    ],
)
def test_a_saved_model_that_takes_something_else_is_one_line(settings, message, digits, tmp_path):
    folder = saved_model(tmp_path / "saved", **settings)
    with pytest.raises(ValueError, match=message) as raised:
        with_logits(load_defence(folder, None), digits[0])
    assert "\n" not in str(raised.value)


def test_an_h5_file_is_the_same_model(files, digits):
    as_keras, as_h5 = (load_defence(str(files / f"mine.{kind}"), None) for kind in ("keras", "h5"))
    np.testing.assert_array_equal(as_h5.model(digits[0]), as_keras.model(digits[0]))


@pytest.fixture(scope="module")
def wrong(files, digits):
    """Files that are not what they should be."""
    images, labels = digits
    np.savez(files / "empty.npz", images=images[:0], labels=labels[:0])
    np.savez(files / "uneven.npz", images=images, labels=labels[:-10])
    np.savez(files / "unknown.npz", images=images, labels=labels + 10)
    (files / "text.npz").write_text("nothing")
    (files / "text.keras").write_text("nothing")
    flat = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])
    flat.save(files / "flat.keras")
    tf.saved_model.save(tf.Module(), str(files / "unsigned"))
    return files


BALL = ["--eps=0.1", "--norm=linf"]
MINE = ["--model={}/mine.keras", "--npz={}/digits.npz", *BALL]


BAD = [
    (["--model=nothing_here", "--attack=pgd"], "Unknown model 'nothing_here'"),
    (["--model={}/mine.pb", *BALL], "expected a zoo name, a .keras or .h5 file, or the folder"),
    (["--model={}/none.h5", *BALL], "--model: there is no file"),
    (["--model={}/none.keras", *BALL], "there is no file"),
    (["--model={}/text.keras", *BALL], "is not a .keras file"),
    (["--model={}/flat.keras", "--npz={}/digits.npz", *BALL], "expected images (n, h, w, c)"),
    ([*MINE, "--attack=pdg"], "Did you mean 'pgd'"),
    ([*MINE, "--attack=pgd:steps=0"], "pgd: steps: expected 1 or more"),
    ([*MINE, "--attack=autoattack:steps=-1"], "autoattack: steps: expected 1 or more"),
    ([*MINE, "--attack=autoattack:version=pluss"], "Did you mean 'plus'"),
    ([*MINE, "--attack=autoattack:attacks=apgd_ce+fabt"], "Did you mean 'fab_t'"),
    ([*MINE, "--norm=l1", "--attack=spsa"], "spsa is made for the norm linf or l2"),
    ([*MINE, "--attack=deepfool"], "deepfool is made for the norm l2"),
    ([*MINE, "--attack=pgd,pgd"], "expected each once"),
    ([*MINE, "--attack="], "expected one or more"),
    (["--model={}/mine.keras", "--npz={}/digits.npz"], "not for examples of your own"),
    (["--model={}/mine.keras", "--dataset=mnits"], "there are defaults for mnist"),
    (["--model={}/mine.keras"], "--dataset: expected"),
    (["--model={}/none/", *BALL], "is not one of them"),
    (["--model={}", *BALL], "is not a SavedModel"),
    ([*MINE, "--defend=mnist_fc"], "mnist_fc is a classifier"),
    ([*MINE, "--defend={}/none.keras"], "--defend: there is no file"),
    ([*MINE, "--defend={}/mine.keras"], "autoencoder: expected an output of the same shape"),
    ([*MINE, "--defend=folder/"], "--defend: expected a zoo name, a .keras or .h5 file"),
    (["--model={}/mine.keras", "--dataset=mnist", "--data_dir=/nowhere"], "there is no folder"),
    ([*MINE, "--npz={}/empty.npz"], "expected one image or more"),
    ([*MINE, "--npz={}/uneven.npz", "--max_examples=5"], "as many labels"),
    ([*MINE, "--npz={}/unknown.npz"], "labels: expected 0 to 9"),
    (["--model={}/saved", *BALL, "--npz={}/unknown.npz"], "labels: expected 0 to 9"),
    ([*MINE, "--npz={}/text.npz"], "is not a .npz file"),
    ([*MINE, "--npz={}/none.npz"], "there is no file"),
    ([*MINE, "--npz={}/digits.npz", "--publish"], "--publish: expected a model of the zoo"),
    (
        ["--model=mnist_madry", "--eps=0.1", "--publish"],
        "the data set and ball of the card",
    ),
    (["--model=mnist_madry", "--attack=pgd", "--publish"], "pgd with steps of step_size 0.01"),
    (["--model=mnist_madry", "--attack=autoattack:steps=5", "--publish"], "without parameters"),
    (["--model={}/unsigned", "--npz={}/digits.npz", *BALL], "expected a signature named"),
    ([*MINE, "--eps=-1"], "eps"),
    ([*MINE, "--eps=0"], "--eps: expected more than 0"),
]


@pytest.mark.parametrize("arguments, message", BAD)
def test_bad_flags_are_one_line(wrong, tmp_path, arguments, message):
    given = [argument.format(wrong) for argument in arguments]
    done = run("experiments.evaluate", *given, cwd=tmp_path)
    assert done.returncode != 0 and message in done.complaint
    assert len(done.complaint.split("\nPass --help")[0].splitlines()) == 1


def test_the_ball_is_the_cards_before_the_data_sets():
    own = load_defence("mnist_lenet5", None)
    assert own.threat == ThreatModel(**zoo.info("mnist_lenet5").threat)
    assert threat_of("mnist", None, None, own.threat) == own.threat != threat_for("mnist")
    assert threat_of("mnist", None, 0.2, own.threat) == ThreatModel("linf", 0.2)
    assert threat_of("mnist", None, None) == threat_for("mnist")


COMMAND = "experiments.evaluate"


def test_figures_of_another_command_stay_on_the_card(capsys):
    """mnist_fc has clean, PGD-40 and AutoAttack; older cards do not name the commands."""
    name = "mnist_fc"
    clean, pgd40, pgd7, autoattack = (
        Measurement(5, 10, attack, steps, defended=name, command=COMMAND)
        for attack, steps in (("clean", None), ("pgd", 40), ("pgd", 7), ("autoattack", None))
    )
    assert unclaimed(name, [clean, pgd40, pgd7, autoattack], COMMAND) == [pgd7, autoattack]
    printed = capsys.readouterr().out
    assert "clean: " in printed and "pgd-40: " in printed and "autoattack" not in printed
    assert unclaimed(name, [clean], "experiments.aaa") == [clean]
