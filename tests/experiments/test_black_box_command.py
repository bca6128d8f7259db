"""The black-box command on a few images, to its result and figure."""

import http.server
import json
import os
import threading

import pytest

from tests.helpers import commands

FEW = ["--recipe=smoke", "--queries=4", "--train_examples=64"]
FEW += ["--epochs=1", "--batch_size=16", "--validation_examples=16", "--eval_examples=20"]
FEW += ["--attack_steps=1"]


def one_processor():
    """The target must answer though the training's step holds TensorFlow's only thread."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def run(workdir, *options):
    return commands.run(
        "experiments.black_box", *options, f"--workdir={workdir}", prepare=one_processor
    )


SOME, ALL = ("queries",), ("queries", "tuned", "white_box")


@pytest.mark.parametrize("ways", [SOME, pytest.param(ALL, marks=pytest.mark.slow)])
def test_it_trains_by_queries(ways, tmp_path):
    done = run(tmp_path, *FEW, f"--ways={','.join(ways)}")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "result.json").read_text())
    robust = {m["row"]: m["accuracy"] for m in result["measurements"] if m["attack"] == "pgd"}
    names = {"queries": "queries_4", "tuned": "tuned_4"}
    assert robust.keys() == {"undefended", "transfer", *(names.get(way, way) for way in ways)}
    assert robust["undefended"] < 0.2 < robust["transfer"]
    assert result["queries"].keys() == {names[way] for way in ways if way in names}
    assert min(result["queries"].values()) > 64 * 4
    assert (tmp_path / "queries.png").stat().st_size > 1000


def test_a_server_that_does_not_answer_is_said_in_a_line(tmp_path):
    done = run(tmp_path, *FEW, "--ways=queries", "--url=http://127.0.0.1:9/v1/models/none")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: queries_4: a query failed. 3 attempts failed")
    assert "refused" in last and "same command" in last and len(last) < 300


def test_a_server_of_another_model_is_refused(tmp_path):
    class Uniform(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            count = len(json.loads(body)["inputs"]["input_1"])
            answer = json.dumps({"outputs": {"probabilities": [[0.1] * 10] * count}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Uniform) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/models/mnist_fc"
        done = run(tmp_path, *FEW, "--ways=queries", f"--url={url}", "--url_input=input_1")
        server.shutdown()
    assert done.returncode == 2, done.stderr[-2000:]
    assert "expected the model that --target names, mnist_fc" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("text", ["3", pytest.param("many", marks=pytest.mark.slow)])
def test_queries_must_be_even(text, tmp_path):
    done = run(tmp_path, f"--queries={text}")
    assert done.returncode == 2 and "--queries: expected" in done.stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--frozen_encoder=1"], "--frozen_encoder: expected --ways=tuned with it"),
        (["--precision=bfloat16"], "--precision: expected float32"),
        (["--ways=white_box", "--queries=4"], "--queries: expected --ways with queries or tuned"),
        (["--ways=tuned", "--epochs=2"], "--epochs: expected --ways with queries or white_box"),
    ],
)
def test_a_flag_without_effect_is_refused(flags, message, tmp_path):
    done = run(tmp_path, *flags)
    assert done.returncode == 2 and done.complaint.startswith(f"error: {message}")
    assert len(done.complaint.splitlines()) == 1
