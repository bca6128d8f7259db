"""Copy a trained network into a wider one, which computes the same and can be trained further."""

import keras
import numpy as np
from keras import layers

from keras_aaa.models.blocks import CheckedImages
from keras_aaa.models.fused_batch_norm import FusedBatchNormalization

SPREAD = 0.5  # random shares are 1 - SPREAD to 1 + SPREAD before their sum is set to 1
# Layers that treat each filter separately, so that equal inputs give equal outputs.
_CHANNELWISE = (
    CheckedImages,
    layers.Activation,
    layers.Identity,
    layers.MaxPooling2D,
    layers.ReLU,
    layers.UpSampling2D,
)


def widen(narrow: keras.Model, wide: keras.Model, seed: int = 0) -> None:
    """Set the weights of `wide` so that it computes the same as `narrow`, up to rounding.

    Each filter of the wide network is a copy of a narrow filter. A layer that reads several copies
    splits the narrow filter's weight among them, by random shares that sum to 1. The sum stays the
    same. The copies get different gradients, so that they diverge in training. After Chen et al.
    2016, Net2Net, section 2.2 (Net2WiderNet), where the shares are equal and noise makes the copies
    diverge.

    Args:
        narrow: a model of convolutions, normalisations, concatenations and layers that treat each
            filter separately. Each layer is called once.
        wide: a model built like `narrow`, with at least as many filters in each layer. It is
            changed in place, and only in part if there is an error. The types of its layers are
            checked, their connections are not.
        seed: seed of the random shares.

    Raises:
        ValueError: for layers that cannot be widened, layers of different types, or fewer filters.
    """
    if [type(layer) for layer in narrow.layers] != [type(layer) for layer in wide.layers]:
        raise ValueError(f"wide: expected the layers of {narrow.name}, got others in {wide.name}.")
    random = np.random.default_rng(seed)
    # id(tensor of the wide network) -> for each of its channels, the narrow channel it copies
    copies = {id(tensor): np.arange(tensor.shape[-1]) for tensor in wide.inputs}
    for old, new in zip(narrow.layers, wide.layers, strict=True):
        if isinstance(new, layers.InputLayer):
            continue
        read = [copies[id(tensor)] for tensor in keras.tree.flatten(new.input)]
        if isinstance(new, layers.Conv2D):
            copies[id(new.output)] = _convolution(old, new, read[0], random)
        elif isinstance(new, layers.Concatenate):
            widths = [tensor.shape[-1] for tensor in old.input]
            starts = np.cumsum([0, *widths[:-1]])
            copies[id(new.output)] = np.concatenate(
                [start + each for start, each in zip(starts, read, strict=True)]
            )
        elif isinstance(new, FusedBatchNormalization):
            new.set_weights([weight[read[0]] for weight in old.get_weights()])
            copies[id(new.output)] = read[0]
        elif isinstance(new, _CHANNELWISE):
            copies[id(new.output)] = read[0]
        else:
            raise ValueError(f"{new.name}, a {type(new).__name__}, cannot be widened.")


def _convolution(old, new, read: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Set the wide convolution's weights; return the narrow filter that each wide filter copies."""
    if new.filters < old.filters:
        raise ValueError(f"{new.name} has {new.filters} filters, expected at least {old.filters}.")
    originals = np.arange(new.filters) % old.filters
    kernel, *bias = old.get_weights()
    shares = random.uniform(1 - SPREAD, 1 + SPREAD, (*kernel.shape[:2], len(read), len(originals)))
    for channel in range(kernel.shape[2]):
        group = read == channel
        shares[:, :, group] /= shares[:, :, group].sum(axis=2, keepdims=True)
    new.set_weights(
        [kernel[:, :, read][..., originals] * shares, *(values[originals] for values in bias)]
    )
    return originals
