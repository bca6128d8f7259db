"""Classifiers that can only be queried, with a gradient by finite differences.

The trainer, the attacks and the evaluation take them as they take any Keras classifier.
Paper: AAA, "Future Work"; the estimator is that of Chen et al. 2017, "ZOO", and of Ilyas et al.
2018, "Black-box Adversarial Attacks with Limited Queries and Information".
"""

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.checks import check_number

# images float32 [n, h, w, c] in [0, 1] -> probabilities [n, classes]
Query = Callable[[np.ndarray], np.ndarray]

SMALLEST = 1e-6  # probabilities below are taken as this, so that their logarithm exists


class QueryFailed(Exception):
    """A query function that kept failing, or answered with something else than probabilities."""


@dataclass
class Queries:
    """A query function that is retried, watched and counted.

    Args:
        query: see Query; it may raise, or take too long.
        classes: how many probabilities an image has.
        attempts: how often a query is tried before the run ends.
        seconds: how long one may take.
        pause: seconds between attempts, doubled each time.
        batch: images in one query at the most.
    """

    query: Query
    classes: int
    attempts: int = 3
    seconds: float = 60.0
    pause: float = 0.5
    batch: int = 10_000
    count: int = field(default=0, init=False)  # images asked for so far
    failure: QueryFailed | None = field(default=None, init=False)  # why the last one ended a run
    _thread: futures.ThreadPoolExecutor = field(
        default_factory=lambda: futures.ThreadPoolExecutor(1), init=False, repr=False
    )
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self):
        if not callable(self.query):
            raise TypeError(
                "query: expected a function of images, got a "
                f"{type(self.query).__name__}; rest_query makes one of an address."
            )
        for name, low in {"classes": 2, "attempts": 1, "batch": 1}.items():
            check_number(name, getattr(self, name), low, whole=True)
        check_number("seconds", self.seconds, 0, above=True)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 [n, classes].

        Raises:
            QueryFailed: after the last attempt, with the reason.
        """
        parts = [
            self._ask(images[begin : begin + self.batch])
            for begin in range(0, len(images), self.batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def _ask(self, images: np.ndarray) -> np.ndarray:
        # One at a time: batches of an evaluation that run side by side would wait for each other's
        # answers on their own time limits.
        with self._turn:
            try:
                return self._asked(images)
            except QueryFailed as failure:  # a graph would bury it in its own error
                self.failure = failure
                raise

    def _asked(self, images: np.ndarray) -> np.ndarray:
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            answer = self._thread.submit(self.query, images)
            try:
                found = np.asarray(answer.result(self.seconds), np.float32)
            except futures.TimeoutError:
                reason = f"no answer within {self.seconds} s"
                # The thread is still busy with it.
                self._thread = futures.ThreadPoolExecutor(1)
            except Exception as error:  # whatever the caller's function raises is retried
                reason = f"{type(error).__name__}: {error}"
            else:
                self.count += len(images)
                return self._checked(found, len(images))
        raise QueryFailed(f"{self.attempts} attempts failed; the last one: {reason}")

    def _checked(self, found: np.ndarray, images: int) -> np.ndarray:
        if found.shape != (images, self.classes):
            raise QueryFailed(
                f"expected probabilities of shape {(images, self.classes)}, got {found.shape}"
            )
        if not (np.isfinite(found).all() and (found >= -1e-3).all() and (found <= 1.001).all()):
            raise QueryFailed(
                f"expected probabilities in [0, 1], got {found.min()} to {found.max()}; of logits "
                "take the softmax"
            )
        return found


class Queried(keras.layers.Layer):
    """Images -> logits (logarithms of probabilities) by queries; their gradient by differences.

    Args:
        queries: the function.
        pairs: antithetic pairs of queries for the gradient of an image; None asks once for each
            pixel and side, which is exact but for the step.
        step: length of a difference, in image units. Images nearer than this to 0 or 1 are moved
            inside for the differences, so that no query leaves [0, 1].
        seed: of the random directions.
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
        found = tf.numpy_function(self.queries, [images], tf.float32)
        found = tf.ensure_shape(found, (None, self.queries.classes))
        return tf.math.log(tf.maximum(found, SMALLEST))

    def _differences(self, images: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """The gradient of the sum over logits * upstream, by central differences."""
        size = int(np.prod(images.shape[1:]))
        flat = tf.clip_by_value(tf.reshape(images, (-1, size)), self.step, 1 - self.step)
        pairs = size if self.pairs is None else self.pairs
        if self.pairs is None:
            directions = tf.tile(tf.eye(size)[None], (tf.shape(flat)[0], 1, 1))
            scale = 1.0
        else:
            # Of independent signs, each pixel's own share is what the mean of the products keeps.
            seed = tf.stack([self.drawn.assign_add(1), tf.constant(0, tf.int64)])
            shape = (tf.shape(flat)[0], pairs, size)
            coins = tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32)
            directions = tf.cast(2 * coins - 1, tf.float32)
            scale = 1.0 / pairs
        ahead, behind = (
            self._logits(tf.reshape(flat[:, None] + side * directions, (-1, *images.shape[1:])))
            for side in (self.step, -self.step)
        )
        slopes = (ahead - behind) / (2 * self.step)
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

    Its forward pass asks once an image; its gradient 2 * pairs times an image, or twice for each
    pixel. No gradient of the classifier is ever asked for.

    Args:
        query: images float32 [n, h, w, c] in [0, 1] -> probabilities [n, classes]; a served
            model, for example. Queries(...) sets attempts and time limits. One that runs
            TensorFlow in this process needs two inter-op threads (on a single processor
            tf.config.threading.set_inter_op_parallelism_threads(2), before anything else).
        input_shape: (h, w, c).
        classes: number of probabilities.
        pairs: antithetic pairs of random directions, >= 1; None for every pixel in turn.
        step: length of a difference in image units, above 0 and below 0.5.
        seed: of the directions.

    Returns:
        keras.Model: images -> logits float32 [n, classes]; its layer "queried" counts the queries
        in `queries.count`.

    Raises:
        TypeError, ValueError: for settings that are not as above. Later, where a query keeps
            failing: QueryFailed, or within a graph (an attack, training) the
            tf.errors.UnknownError that TensorFlow makes of it; the layer's `queries.failure` says
            what it was.
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
