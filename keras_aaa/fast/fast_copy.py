"""Faster copies of models, for attacks and training. Always score with the original model."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_aaa.checks import lookup
from keras_aaa.defence import Defence
from keras_aaa.fast.folding import Nothing, foldable, folded, leaves
from keras_aaa.fast.one_channel import one_channel_layer
from keras_aaa.fast.precision import POLICIES

# In bfloat16 a sigmoid rounds to 1 from 0.998 on, and its gradient is 0. Attacks would stop early,
# and the measured robust accuracy would be about a point too high.
SATURATING = ("sigmoid", "tanh", "softmax", "hard_sigmoid", "log_softmax")

# Largest difference between copy and model, relative to the largest output. In bfloat16 the zoo's
# models and new ones of every architecture differ by 0.025 at the most.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
COMPARED = 8  # images
DEFAULT_SIDE = 32  # of random images for a model that takes any size

# Modules whose layers have no state that a copy would lose, such as a random state.
_KNOWN = (
    "keras.src.layers.",
    "keras.src.models.",
    "keras.src.ops.",
    "keras_aaa.models.",
    "keras_aaa.fast.",
)


def fast_copy(
    defence: Defence, precision: str, exact_kernels: int = 2, images: np.ndarray | None = None
) -> Defence:
    """Return a FastCopy that was compared with the model, or the defence itself.

    The defence itself is returned in float32 if it cannot be copied, and in both precisions, with
    a warning, if the copy computes something else than the model.

    Args:
        defence: keras.Model or another callable images -> logits.
        precision: "float32" or "bfloat16".
        exact_kernels: see FastCopy.
        images: float32 [n, h, w, c], to compare copy and model on; COMPARED of them are used. By
            default random ones.

    Raises:
        ValueError: in bfloat16, if the defence cannot be copied.
    """
    if precision == "float32" and not _is_known(defence):
        return defence
    try:
        copy = FastCopy(defence, precision, exact_kernels)
    except ValueError:
        if precision == "float32":
            return defence
        raise
    model = copy.model
    error = _difference(copy, model, images)
    rounded = {layer.compute_dtype for layer in leaves(model)} - {"float32"}
    if error <= TOLERANCE["bfloat16" if rounded else precision]:
        return copy
    warnings.warn(
        f"Model {model.name!r} is used itself, which is slower: its fast copy in {precision} "
        f"differs from it by {error:.2g} of its largest output.",
        stacklevel=2,
    )
    return defence


def _difference(copy: Defence, model: keras.Model, images: np.ndarray | None) -> float:
    """Return the largest difference between the outputs of copy and model, relative to them."""
    if images is None or not len(images):
        shape = [COMPARED, *(side or DEFAULT_SIDE for side in model.input_shape[1:])]
        images = np.random.default_rng(0).random(shape, np.float32)
    size = model.input_shape[0] or COMPARED  # a model may take batches of one size only
    images = np.resize(images[:COMPARED], (size, *images.shape[1:]))
    images = tf.convert_to_tensor(images, tf.float32)
    exact = np.asarray(tf.cast(model(images, training=False), tf.float32))
    copied = np.asarray(copy(images))
    if not np.isfinite(exact).all():
        return 0.0 if np.array_equal(exact, copied, equal_nan=True) else np.inf
    return float(np.abs(copied - exact).max() / max(np.abs(exact).max(), np.finfo(np.float32).tiny))


def _is_known(part) -> bool:
    """Return whether a model or layer, and all its layers, come from Keras or this package."""
    inside = part.layers if isinstance(part, keras.Model) else ()
    return type(part).__module__.startswith(_KNOWN) and all(map(_is_known, inside))


def _described(layer) -> bool:
    """Return whether the config and the variables of a layer or operation say all about it."""
    return (
        _is_known(layer)
        # An adapted Normalization holds its mean in a tensor.
        and not any(isinstance(v, np.ndarray | tf.Tensor) for v in vars(layer).values())
        # A config may hold a function of the user's own, but cannot be read again.
        and _is_librarys(getattr(layer, "activation", None))
        and getattr(layer, "quantization_mode", None) is None
        and not getattr(layer, "lora_enabled", False)
    )


def _is_librarys(activation) -> bool:
    return activation is None or activation.__module__.startswith(("keras.", "tensorflow."))


class Original(keras.layers.Layer):
    """Call a layer of the model itself, in its own precision, in place of a copy of it."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(name=layer.name, dtype="float32", autocast=False)
        self.layer = layer

    def call(self, *args, **kwargs):
        return self.layer(*args, **kwargs)


class FastCopy:
    """A callable images -> float32 logits that computes `model` at inference, faster.

    Batch normalisation is folded into the layer before it, if no other layer reads that layer.
    Convolutions from or to one channel become matrix products (see folding, one_channel).

    In bfloat16 some layers stay in float32: layers with a saturating activation, and all layers up
    to the second one with a kernel. Adversarial training turns the first layers into thresholds at
    eps and 1 - eps. Rounding moves these thresholds, and the attack then pushes against the wrong
    ones. (PGD-40 on the MNIST defence, means of four random starts on 1,000 examples: robust
    accuracy is 95.65 % if crafted in float32, 95.60 % with two such layers in float32, and 96.00 %
    with one.)

    The copy has no weights of its own. Each call (or each `frozen()`) takes the model's present
    weights. Gradients flow through the copy to the images and to the model's weights.

    Args:
        model: a functional or sequential keras.Model made of Keras' own layers.
        precision: "float32" or "bfloat16".
        exact_kernels: number of layers with a kernel to keep in float32, counted from the input; 0
            for a model that does not read the attacked image itself.

    Raises:
        ValueError: if `model` is not such a model, or cannot be cloned (custom layers without a
            config).
    """

    def __init__(self, model: keras.Model, precision: str, exact_kernels: int = 2):
        lookup("precision", precision, POLICIES)
        if not isinstance(model, keras.Model):
            raise ValueError(
                f"{precision}: only a keras.Model can be copied, got {type(model).__name__}; use "
                "float32."
            )
        self.model = model
        exact = _up_to_kernel(model, exact_kernels)
        self._normalisations = foldable(model)
        self._gone = {id(layer) for layer in self._normalisations.values()}

        def copied(layer):
            if isinstance(layer, keras.layers.Layer) and not _described(layer):
                return Original(layer)
            config = layer.get_config()
            if "dtype" in config:  # operations such as pad have no dtype
                in_float32 = id(layer) in exact or config.get("activation") in SATURATING
                config["dtype"] = "float32" if in_float32 else precision
            if id(layer) in self._gone:
                return Nothing(name=layer.name, dtype=config["dtype"])
            if id(layer) in self._normalisations:
                config["use_bias"] = True
            return one_channel_layer(layer).from_config(config)

        try:
            self._graph = keras.models.clone_model(model, clone_function=copied, recursive=True)
        except (TypeError, NotImplementedError) as error:
            raise ValueError(
                f"Model {model.name!r} cannot be copied to {precision} ({error}); use float32."
            ) from error

    def frozen(self) -> Defence:
        """Cast the weights once and return a callable that uses them.

        Inside a tf.function, call this before a loop, so that the loop casts nothing.
        """
        values = [
            (copy, tf.cast(original, copy.dtype) if "float" in copy.dtype else original)
            for layer, source in zip(leaves(self._graph), leaves(self.model), strict=True)
            if not isinstance(layer, Original)
            for copy, original in zip(layer.variables, self._weights(source), strict=True)
        ]

        def call(images: tf.Tensor) -> tf.Tensor:
            with keras.StatelessScope(state_mapping=values):
                return tf.cast(self._graph(images, training=False), tf.float32)

        return call

    def _weights(self, layer: keras.layers.Layer) -> list[tf.Tensor]:
        """Return the weights that the copy uses for this layer of the model."""
        if id(layer) in self._gone:
            return []
        if id(layer) in self._normalisations:
            return folded(layer, self._normalisations[id(layer)])
        return [variable.value for variable in layer.variables]

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            raise ValueError("FastCopy computes inference only; call it with training=False.")
        return self.frozen()(images)


def _up_to_kernel(model: keras.Model, kernels: int) -> set[int]:
    """Return the ids of the layers from the input up to the last of `kernels` kernel layers."""
    ids: set[int] = set()
    for layer in leaves(model):
        if not kernels:
            break
        ids.add(id(layer))
        kernels -= hasattr(layer, "kernel")
    return ids


def freeze(defence: Defence) -> Defence:
    """Return `defence` as images -> float32 outputs, at inference, for use in a loop."""
    if isinstance(defence, FastCopy):
        return defence.frozen()
    if isinstance(defence, keras.Model):
        return lambda images: tf.cast(defence(images, training=False), tf.float32)
    return lambda images: tf.cast(defence(images), tf.float32)
