"""Black-box classifiers, which can only be queried, with a gradient by finite differences.

The trainer, the attacks and the evaluation take them like any Keras classifier.
Paper: AAA, "Future Work". The estimator follows Chen et al. 2017, "ZOO", and Ilyas et al. 2018,
"Black-box Adversarial Attacks with Limited Queries and Information".
"""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number
from keras_aaa.models.probabilities import log_probabilities

# images float32 [n, h, w, c] in [0, 1] -> probabilities [n, classes]
Query = Callable[[np.ndarray], np.ndarray]

LONGEST = 300  # characters of a server's reason that an error shows
SMALLEST = 1e-6  # smaller probabilities are raised to it, so that the logarithm is finite


class QueryFailed(Exception):
    """Raised when a query function keeps failing or does not return probabilities."""


@dataclass
class Queries:
    """A query function with retries, a time limit and a counter.

    Args:
        query: see Query; it may raise an error or take too long.
        classes: number of probabilities per image.
        attempts: number of attempts at a query before the run ends.
        seconds: time limit of one attempt.
        pause: seconds between attempts; the pause doubles each time.
        batch: largest number of images in one query.
    """

    query: Query
    classes: int
    attempts: int = 3
    seconds: float = 60.0
    pause: float = 0.5
    batch: int = 10_000
    count: int = field(default=0, init=False)  # images answered so far
    failure: QueryFailed | None = field(
        default=None, init=False
    )  # the last failure that ended a run
    _thread: futures.ThreadPoolExecutor = field(
        default_factory=lambda: futures.ThreadPoolExecutor(1), init=False, repr=False
    )
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self):
        if not callable(self.query):
            raise TypeError(
                "query: expected a function of images, got a "
                f"{type(self.query).__name__}; rest_query(url) makes one."
            )
        for name, low in {"classes": 2, "attempts": 1, "batch": 1}.items():
            check_number(name, getattr(self, name), low, whole=True)
        check_number("seconds", self.seconds, 0, above=True)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 [n, classes].

        Args:
            images: float32 [n, h, w, c] in [0, 1].

        Raises:
            QueryFailed: after the last attempt, with the reason.
        """
        parts = [
            self._ask(images[begin : begin + self.batch])
            for begin in range(0, len(images), self.batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def _ask(self, images: np.ndarray) -> np.ndarray:
        # One query at a time. Otherwise parallel batches of an evaluation would wait for each
        # other, and the wait would count towards their time limits.
        with self._turn:
            try:
                return self._asked(images)
            except QueryFailed as failure:  # a graph hides it in its own error
                self.failure = failure
                raise

    def _asked(self, images: np.ndarray) -> np.ndarray:
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            answer = self._thread.submit(self.query, images)
            try:
                probabilities = np.asarray(answer.result(self.seconds), np.float32)
            except futures.TimeoutError:
                reason = f"no answer within {self.seconds} s"
                # The old thread is still busy with the query, so the next attempt needs a new one.
                self._thread = futures.ThreadPoolExecutor(1)
            except Exception as error:  # any error of the caller's function is retried
                reason = f"{type(error).__name__}: {error}"
            else:
                self.count += len(images)
                return self._checked(probabilities, len(images))
        raise QueryFailed(f"{self.attempts} attempts failed; the last one: {reason}")

    def _checked(self, found: np.ndarray, images: int) -> np.ndarray:
        if found.shape != (images, self.classes):
            raise QueryFailed(
                f"expected probabilities of shape {(images, self.classes)}, got {found.shape}"
            )
        if not (np.isfinite(found).all() and (found >= -1e-3).all() and (found <= 1.001).all()):
            raise QueryFailed(
                f"expected probabilities in [0, 1], got {found.min()} to {found.max()}; apply "
                "softmax to logits"
            )
        return found


class Queried(keras.layers.Layer):
    """A layer images -> logits (log-probabilities) by queries, with a finite-difference gradient.

    Args:
        queries: the query function.
        pairs: number of antithetic pairs of queries for the gradient of an image. None queries each
            pixel once on each side, which is exact up to the step.
        step: length of a difference, in image units. For the differences, pixels closer than this
            to 0 or 1 are moved inside, so that no query leaves [0, 1].
        seed: seed of the random directions.
    """

    def __init__(self, queries: Queries, pairs: int | None, step: float, seed: int):
        super().__init__(trainable=False, dtype="float32", name="queried")
        self.queries, self.pairs, self.step = queries, pairs, step
        self.drawn = tf.Variable(np.int64(seed) << 32, trainable=False, dtype=tf.int64)

    def call(self, images):
        """Return the logits, float32 [n, classes]."""

        @tf.custom_gradient
        def logits(x):
            def gradient(upstream):
                return self._differences(x, upstream)

            return self._logits(x), gradient

        return logits(images)

    def compute_output_shape(self, shape):
        """Return (n, classes)."""
        return (shape[0], self.queries.classes)

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        probabilities = tf.numpy_function(self.queries, [images], tf.float32)
        probabilities = tf.ensure_shape(probabilities, (None, self.queries.classes))
        return log_probabilities(probabilities, SMALLEST)

    def _differences(self, images: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the sum over logits * upstream, by central differences."""
        size = int(np.prod(images.shape[1:]))
        flat = tf.clip_by_value(tf.reshape(images, (-1, size)), self.step, 1 - self.step)
        pairs = size if self.pairs is None else self.pairs
        if self.pairs is None:
            directions = tf.tile(tf.eye(size)[None], (tf.shape(flat)[0], 1, 1))
            scale = 1.0
        else:
            # The signs are independent, so the mean of the products keeps each pixel's own share.
            seed = tf.stack([self.drawn.assign_add(1), tf.constant(0, tf.int64)])
            shape = (tf.shape(flat)[0], pairs, size)
            coins = tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32)
            directions = tf.cast(2 * coins - 1, tf.float32)
            scale = 1.0 / pairs
        forward, backward = (
            self._logits(tf.reshape(flat[:, None] + side * directions, (-1, *images.shape[1:])))
            for side in (self.step, -self.step)
        )
        slopes = (forward - backward) / (2 * self.step)
        slopes = tf.reshape(slopes, (-1, pairs, self.queries.classes))
        along = tf.einsum("npc,nc->np", slopes, upstream)
        return tf.reshape(tf.einsum("np,npd->nd", along, directions) * scale, tf.shape(images))


def black_box(
    query: Query | Queries,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    pairs: int | None,
    step: float = 0.02,
    seed: int = 0,
) -> keras.Model:
    """Return a keras.Model around a classifier that can only be queried.

    The forward pass sends each image once. The gradient sends 2 * pairs images for each image, or
    two for each pixel. The model never needs a gradient of the classifier.

    Args:
        query: images float32 [n, h, w, c] in [0, 1] -> probabilities [n, classes]; a served
            model, for example. Queries(...) sets attempts and time limits. A query that runs
            TensorFlow in this process needs two inter-op threads (on a single processor call
            tf.config.threading.set_inter_op_parallelism_threads(2) before anything else).
        input_shape: (h, w, c).
        classes: number of probabilities.
        pairs: number of antithetic pairs of random directions, >= 1; None for every pixel in turn.
        step: length of a difference in image units, above 0 and below 0.5.
        seed: seed of the directions.

    Returns:
        keras.Model: images -> logits float32 [n, classes]; its layer "queried" counts the queries
        in `queries.count`.

    Raises:
        TypeError, ValueError: for settings that are not as above.
        QueryFailed: from the returned model, if a query keeps failing. Inside a graph (an attack,
            training) TensorFlow raises tf.errors.UnknownError instead; the layer's
            `queries.failure` holds the cause.
    """
    if pairs is not None:
        check_number("pairs", pairs, 1, whole=True)
    check_number("step", step, 0, 0.49, above=True)
    check_number("classes", classes, 2, whole=True)
    queries = query if isinstance(query, Queries) else Queries(query, classes)
    if queries.classes != classes:
        raise ValueError(f"classes: the queries have {queries.classes}, expected {classes}.")
    inputs = keras.Input(input_shape, dtype="float32", name="images")
    return keras.Model(inputs, Queried(queries, pairs, step, seed)(inputs), name="black_box")


def rest_query(
    url: str, output: str = "probabilities", seconds: float = 60.0, *, input_name: str = "images"
) -> Query:
    """Return a function images -> probabilities that queries a served model.

    Args:
        url: http://HOST:PORT/v1/models/NAME, as in TensorFlow Serving.
        output: name of the signature's output with the probabilities.
        seconds: time limit of an answer.
        input_name: name of the signature's input for the images.

    Returns:
        A function of float32 images [n, h, w, c]. It raises OSError with the server's reason if the
        request fails, and ValueError if the answer has no such output.

    Raises:
        ValueError: if `url` does not begin with http:// or https://.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url: expected http://HOST:PORT/v1/models/NAME, got {url!r}.")

    def query(images: np.ndarray) -> np.ndarray:
        body = json.dumps({"inputs": {input_name: np.asarray(images).tolist()}}).encode()
        request = urllib.request.Request(
            f"{url}:predict", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                outputs = json.load(answer)["outputs"]
        except urllib.error.HTTPError as error:
            raise OSError(f"{url} refused the request ({error.code}): {_reason(error)}") from error
        if isinstance(outputs, dict) and output not in outputs:
            raise ValueError(f"{url}: expected an output {output!r}, got {sorted(outputs)}.")
        return np.asarray(outputs[output] if isinstance(outputs, dict) else outputs, np.float32)

    return query


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the reason in a server's answer to a failed request, in one line."""
    text = error.read().decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):  # another server answers otherwise
        text = json.loads(text)["error"]
    return " ".join(str(text).split())[:LONGEST] or str(error.reason)
