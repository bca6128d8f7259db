"""Gradients by queries against true ones, and the trainer on a classifier nobody can look into."""

import contextlib
import http.server
import json
import math
import subprocess
import sys
import threading
import time
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.attacks import pgd
from keras_aaa.black_box import Queries, QueryFailed, black_box, rest_query
from keras_aaa.serving import export_classifier
from keras_aaa.training import LOSSES, AutoencoderTask
from tests.helpers import HELPERS
from tests.helpers.small_trainings import TINY, arrays, tiny_train

SHAPE, CLASSES = (6, 6, 1), 3
SIZE = math.prod(SHAPE)
WEIGHTS = np.random.default_rng(0).normal(0, 0.5, (SIZE, CLASSES)).astype("float32")
IMAGES = np.random.default_rng(1).uniform(0.1, 0.9, (200, *SHAPE)).astype("float32")


def linear(images):
    """Softmax of a linear function, in NumPy: there is no gradient to be had of it."""
    logits = images.reshape(len(images), -1) @ WEIGHTS
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def true_gradient(images, upstream):
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        logits = tf.nn.log_softmax(tf.reshape(x, (len(images), -1)) @ WEIGHTS)
        total = tf.reduce_sum(logits * upstream)
    return tape.gradient(total, x).numpy()


def estimated(model, images, upstream):
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        total = tf.reduce_sum(model(x) * upstream)
    return tape.gradient(total, x).numpy()


def cosines(a, b):
    a, b = (v.reshape(len(v), -1) for v in (a, b))
    return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


UPSTREAM = np.random.default_rng(2).normal(0, 1, (len(IMAGES), CLASSES)).astype("float32")


def test_the_logits_are_those_of_the_queries():
    model = black_box(linear, SHAPE, CLASSES, pairs=1)
    np.testing.assert_allclose(tf.nn.softmax(model(IMAGES)), linear(IMAGES), atol=1e-6)


def test_every_pixel_in_turn_gives_the_gradient():
    model = black_box(linear, SHAPE, CLASSES, pairs=None)
    found = estimated(model, IMAGES, UPSTREAM)
    np.testing.assert_allclose(found, true_gradient(IMAGES, UPSTREAM), atol=2e-3)
    assert model.get_layer("queried").queries.count == len(IMAGES) * (1 + 2 * SIZE)


@pytest.mark.parametrize("pairs", [1, 8, 64])
def test_the_cosine_is_what_theory_says(pairs):
    # The mean of m products u (u . g) has the squared length |g|^2 (1 + (d - 1) / m), of which
    # |g|^2 lies along g; of one product the mean squared cosine is 1 / d exactly.
    model = black_box(linear, SHAPE, CLASSES, pairs=pairs)
    found = estimated(model, IMAGES, UPSTREAM)
    cosine = cosines(found, true_gradient(IMAGES, UPSTREAM))
    expected = 1 / math.sqrt(1 + (SIZE - 1) / pairs)
    assert abs(np.sqrt(np.mean(cosine**2)) - expected) < 0.04
    assert model.get_layer("queried").queries.count == len(IMAGES) * (1 + 2 * pairs)


def test_no_query_leaves_the_unit_range():
    seen = []

    def watched(images):
        seen.append((images.min(), images.max()))
        return linear(images)

    model = black_box(watched, SHAPE, CLASSES, pairs=4, step=0.05)
    corners = np.concatenate([np.zeros((2, *SHAPE)), np.ones((2, *SHAPE))]).astype("float32")
    assert np.isfinite(estimated(model, corners, UPSTREAM[:4])).all()
    assert min(low for low, _ in seen) >= 0 and max(high for _, high in seen) <= 1


def test_attacks_work_by_queries_alone(threat):
    labels = linear(IMAGES).argmax(axis=1)
    model = black_box(linear, SHAPE, CLASSES, pairs=32)
    x_adv = pgd(model, IMAGES, labels, threat=threat, steps=5, step_size=0.1).numpy()
    assert (linear(x_adv).argmax(axis=1) == labels).mean() < 0.2


def digits_classifier(images):
    """Ten classes of digits by the brightness of ten strips; enough to train against."""
    strips = images.reshape(len(images), 28, 28)[:, :, :20].reshape(len(images), 28, 10, 2)
    logits = 5 * strips.mean(axis=(1, 3))
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_the_trainer_trains_against_it(small_autoencoder, threat, tmp_path):
    classifier = black_box(digits_classifier, (28, 28, 1), 10, pairs=4)
    before = arrays(small_autoencoder)
    task = AutoencoderTask(small_autoencoder, (classifier,), LOSSES["ce_mse"], threat)
    progress = tiny_train(task, tmp_path)
    assert progress.step == 8
    changed = [
        not np.array_equal(a, b) for a, b in zip(before, arrays(small_autoencoder), strict=True)
    ]
    assert all(changed)


def test_a_failing_query_is_tried_again():
    calls = []

    def flaky(images):
        calls.append(len(images))
        if len(calls) < 3:
            raise ConnectionError("gone")
        return linear(images)

    queries = Queries(flaky, CLASSES, attempts=3, pause=0.01)
    np.testing.assert_allclose(queries(IMAGES[:5]), linear(IMAGES[:5]))
    assert len(calls) == 3 and queries.count == 5


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (lambda images: time.sleep(1), r"2 attempts failed.*no answer within 0.1 s"),
        (lambda images: 1 / 0, "2 attempts failed.*ZeroDivisionError"),
        (lambda images: linear(images)[:, :2], r"expected probabilities of shape \(5, 3\)"),
        (lambda images: linear(images) * 30, r"expected probabilities in \[0, 1\]"),
        (lambda images: linear(images) * np.nan, r"expected probabilities in \[0, 1\]"),
    ],
)
def test_queries_that_cannot_be_used(query, message):
    with pytest.raises(QueryFailed, match=message):
        Queries(query, CLASSES, attempts=2, seconds=0.1, pause=0.01)(IMAGES[:5])


def test_a_run_whose_queries_fail_ends_with_a_checkpoint(small_autoencoder, threat, tmp_path):
    asked = []

    def dying(images):
        asked.append(len(images))
        if len(asked) > 40:
            raise ConnectionError("gone for good")
        return digits_classifier(images)

    queries = Queries(dying, 10, attempts=2, pause=0.01)
    classifier = black_box(queries, (28, 28, 1), 10, pairs=2)
    task = AutoencoderTask(small_autoencoder, (classifier,), LOSSES["ce_mse"], threat)
    with pytest.raises(tf.errors.UnknownError, match=r"QueryFailed.*gone for good"):
        tiny_train(task, tmp_path)
    (saved,) = (tmp_path / "checkpoints").glob("*.index")
    assert int(saved.stem.removeprefix("ckpt-")) > 0
    asked.clear()
    classifier = black_box(digits_classifier, (28, 28, 1), 10, pairs=2)
    again = AutoencoderTask(small_autoencoder, (classifier,), LOSSES["ce_mse"], threat)
    assert tiny_train(again, tmp_path).step == TINY.epochs * 4


def test_a_classifier_in_another_process(small_classifier, digits, tmp_path):
    export_classifier(small_classifier, tmp_path / "model")
    server = HELPERS / "rest_server.py"
    process = subprocess.Popen(
        [sys.executable, server, tmp_path / "model"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1/models/mine"
        model = black_box(rest_query(url), (28, 28, 1), 10, pairs=2)
        expected = tf.nn.log_softmax(small_classifier(digits[0][:6]))
        np.testing.assert_allclose(model(digits[0][:6]), expected, atol=1e-4)
        assert np.isfinite(estimated(model, digits[0][:6], np.ones((6, 10), "float32"))).all()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            b'{"error": "input size does not match\\nsignature"}',
            "(400): input size does not match ",
        ),
        (b"<h1>Bad Request</h1>", "(400): <h1>Bad Request</h1>"),
        (b"", "(400): Bad Request"),
        (b'["x"]', '(400): ["x"]'),
    ],
)
def test_a_refused_request_shows_the_servers_reason(answer, message):
    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with serving(Refuse) as url, pytest.raises(OSError) as raised:
        rest_query(url)(IMAGES[:2])
    assert f"{url} refused the request {message}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_names_of_input_and_output_are_the_callers():
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = json.dumps({"outputs": {"scores": [[0.25, 0.75]], "other": [[0]]}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with serving(Answer) as url:
        answered = rest_query(url, "scores", input_name="input_1")(IMAGES[:1])
        with pytest.raises(ValueError, match=r"expected an output 'probabilities', got .*scores"):
            rest_query(url)(IMAGES[:1])
    np.testing.assert_array_equal(answered, [[0.25, 0.75]])
    assert [list(body["inputs"]) for body in asked] == [["input_1"], ["images"]]


@contextlib.contextmanager
def serving(handler):
    """Serve in a thread; yields the URL of a model."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/mine"
        server.shutdown()


def test_settings_that_cannot_be():
    for settings, name in (
        ({"pairs": 0}, "pairs"),
        ({"pairs": 1, "step": 0.0}, "step"),
        ({"pairs": 1, "step": 0.6}, "step"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            black_box(linear, SHAPE, CLASSES, **settings)
    with pytest.raises(TypeError, match=r"query: expected a function of images, got a str"):
        black_box("http://127.0.0.1", SHAPE, CLASSES, pairs=1)
    for settings in ({"attempts": 0}, {"batch": 0}, {"seconds": 0}, {"classes": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(settings))}: expected"):
            Queries(linear, **({"classes": CLASSES} | settings))
    with pytest.raises(ValueError, match=r"classes: the queries have 3, expected 4"):
        black_box(Queries(linear, 3), SHAPE, 4, pairs=1)
    with pytest.raises(ValueError, match="url: expected http://"):
        rest_query("127.0.0.1:8501")


def test_threads_that_ask_at_once_wait_on_no_time_limit_but_their_own():
    def query(images):
        time.sleep(0.2)
        return np.full((len(images), 3), 1 / 3, np.float32)

    queries = Queries(query, 3, attempts=1, seconds=0.5)
    with futures.ThreadPoolExecutor(4) as pool:  # the last one has its answer after 0.8 s
        list(pool.map(queries, [np.zeros((2, 4, 4, 1), np.float32)] * 4))
    assert queries.count == 8
