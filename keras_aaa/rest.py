"""A query function for a classifier behind TensorFlow Serving's REST interface."""

import json
import urllib.request

import numpy as np

from keras_aaa.black_box import Query


def rest_query(url: str, output: str = "probabilities", seconds: float = 60.0) -> Query:
    """Return images -> probabilities, asked of a served model.

    Args:
        url: http://HOST:PORT/v1/models/NAME, as TensorFlow Serving has it.
        output: name of the signature's output that holds the probabilities.
        seconds: how long an answer may take.

    Returns:
        A function of float32 images [n, h, w, c]; it raises OSError where the server does, and
        KeyError where the answer has no such output.

    Raises:
        ValueError: if `url` does not begin with http:// or https://.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url: expected http://HOST:PORT/v1/models/NAME, got {url!r}.")

    def query(images: np.ndarray) -> np.ndarray:
        body = json.dumps({"inputs": {"images": np.asarray(images).tolist()}}).encode()
        request = urllib.request.Request(
            f"{url}:predict", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            outputs = json.load(answer)["outputs"]
        return np.asarray(outputs[output] if isinstance(outputs, dict) else outputs, np.float32)

    return query
