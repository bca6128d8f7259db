"""What a server does with an exported model, without a server."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from keras_aaa.models import build, defend
from keras_aaa.models.float16_kernels import round_kernels
from keras_aaa.serving import WARM_UP_BATCHES, export_defence, export_for_serving
from tests.helpers.commands import run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(folder of the SavedModel, the defence it serves)."""
    tmp = tmp_path_factory.mktemp("serving")
    autoencoder, classifier = (
        build("conv_dense_autoencoder", latent=8),
        build("madry", width=4, dense=16),
    )
    round_kernels(autoencoder)  # so that one of the two is stored in float16
    export_defence(autoencoder, classifier, tmp / "artefact")
    folder = export_for_serving(tmp / "artefact", "small", 3, tmp / "out")
    return folder, defend(autoencoder, classifier)


def test_layout_is_the_servers(exported):
    folder, out = exported[0], exported[0].parent.parent
    assert folder == out / "small" / "3"
    assert (folder / "saved_model.pb").is_file()
    assert 'base_path: "/models/small"' in (out / "models.config").read_text()
    assert "max_batch_size" in (out / "batching.config").read_text()
    readme = (out / "small.md").read_text()
    assert "docker run" in readme and "v1/models/small:predict" in readme
    assert "`reconstruct`" in readme and "`serving_default`" in readme
    (program,) = re.findall(r"python3 -c '(.*?)'", readme, re.DOTALL)
    request = json.loads(subprocess.check_output([sys.executable, "-c", program]))
    assert np.shape(request["instances"]) == (1, 28, 28, 1)
    with pytest.raises(ValueError, match="exists"):
        export_for_serving(folder, "small", 3, out)
    plain = exported[0].parents[2] / "artefact"  # without the warm-up requests
    export_for_serving(plain, "another", 1, out)
    models = (out / "models.config").read_text()
    assert models.count("config {") == 2 and '"/models/another"' in models


def test_loads_into_a_session_without_this_package(exported, digits, tmp_path):
    folder, defended = exported
    np.save(tmp_path / "images.npy", digits[0][:3])
    script = """
import sys
sys.modules["keras_aaa"] = sys.modules["zoo"] = sys.modules["keras"] = None  # not to be imported
import numpy as np, tensorflow as tf
folder, images, out = sys.argv[1:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
    signature = meta.signature_def["serving_default"]
    outputs = {key: info.name for key, info in signature.outputs.items()}
    answer = session.run(outputs, {signature.inputs["images"].name: np.load(images)})
np.savez(out, **answer)
"""
    subprocess.run(
        [sys.executable, "-c", script, folder, tmp_path / "images.npy", tmp_path / "out.npz"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
    answer = np.load(tmp_path / "out.npz")
    logits = defended(digits[0][:3]).numpy()
    np.testing.assert_allclose(answer["logits"], logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(answer["label"], logits.argmax(-1))


def test_warm_up_records_replay(exported):
    folder = exported[0]
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    served = tf.saved_model.load(str(folder))
    seen = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        signature = request.model_spec.signature_name
        images = tf.constant(tf.make_ndarray(request.inputs["images"]))
        answer = served.signatures[signature](images=images)
        assert len(answer["reconstruction"]) == len(images)
        seen.append((signature, len(images)))
    assert seen == [
        (signature, batch)
        for signature in ("reconstruct", "serving_default")
        for batch in WARM_UP_BATCHES
    ]


def test_saved_model_cli_shows_and_scans_it(exported):
    for arguments, expected in (
        (["show", "--all"], "serving_default"),
        (["scan", "--tag_set", "serve"], "does not contain the default denylisted ops"),
    ):
        cli = "tensorflow.python.tools.saved_model_cli"
        done = run(cli, arguments[0], "--dir", exported[0], *arguments[1:])
        assert done.returncode == 0 and expected in done.stdout + done.stderr


def test_openvino_agrees(exported, digits):
    openvino = pytest.importorskip("openvino")
    folder, defended = exported
    # Its own default on a processor with bfloat16 is to compute in that.
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(openvino.convert_model(str(folder)), "CPU", config)
    answer = model({"images": digits[0][:4]})
    found = answer[next(o for o in model.outputs if "logits" in o.names)]
    np.testing.assert_allclose(found, defended(digits[0][:4]), atol=1e-4)


def test_request_and_response_go_through_the_protos(exported, digits):
    folder, defended = exported
    images = digits[0][:2]
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="small", signature_name="serving_default"),
        inputs={"images": tf.make_tensor_proto(images)},
    )
    received = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    served = tf.saved_model.load(str(folder)).signatures[received.model_spec.signature_name]
    answer = served(images=tf.constant(tf.make_ndarray(received.inputs["images"])))
    response = predict_pb2.PredictResponse(
        outputs={key: tf.make_tensor_proto(value) for key, value in answer.items()}
    )
    back = predict_pb2.PredictResponse.FromString(response.SerializeToString())
    np.testing.assert_allclose(
        tf.make_ndarray(back.outputs["logits"]), defended(images), rtol=1e-4, atol=1e-5
    )


@pytest.mark.skipif(
    shutil.which("tensorflow_model_server") is None,
    reason="tensorflow_model_server is not on PATH: the server itself was not run",
)
def test_the_server_answers_over_rest(exported, digits):
    import time
    import urllib.request

    folder, defended = exported
    command = ["tensorflow_model_server", "--port=0", "--rest_api_port=18501", "--model_name=small"]
    server = subprocess.Popen([*command, f"--model_base_path={folder.parent}"])
    body = json.dumps({"instances": digits[0][:2].tolist()}).encode()
    try:
        for _ in range(60):
            try:
                url = "http://127.0.0.1:18501/v1/models/small:predict"
                answer = json.load(urllib.request.urlopen(url, body, timeout=5))
                break
            except OSError:
                time.sleep(1)
        logits = [row["logits"] for row in answer["predictions"]]
        np.testing.assert_allclose(logits, defended(digits[0][:2]), atol=1e-4)
    finally:
        server.kill()
        server.wait()
