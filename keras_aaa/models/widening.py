"""A trained network in a wider one of the same architecture, which does the same and learns on."""

import keras
import numpy as np
from keras import layers

from keras_aaa.models.blocks import CheckedImages
from keras_aaa.models.normalisation import FusedBatchNormalization

SPREAD = 0.5  # of a filter's shares among its copies, relative to equal shares
# What treats each filter for itself, and so passes copies on as they come.
_CHANNELWISE = (
    CheckedImages,
    layers.Activation,
    layers.Identity,
    layers.MaxPooling2D,
    layers.ReLU,
    layers.UpSampling2D,
)


def widen(narrow: keras.Model, wide: keras.Model, seed: int = 0) -> None:
    """Give `wide` weights with which it computes what `narrow` does, up to rounding.

    Each filter of the wide network is a copy of a narrow one's. Where copies are read they share
    the narrow one's weight, by random shares that sum to 1: the sum stays, and the copies get
    gradients of their own, so that they part in training. After Chen et al. 2016, Net2Net, section
    2.2 (Net2WiderNet), where shares are equal and noise parts the copies.

    Args:
        narrow: a model of convolutions, normalisations, concatenations and layers that treat each
            filter for itself, each called once.
        wide: built as `narrow` was, with at least as many filters in each layer; changed in place,
            in part if there is an error. That the layers are of the same types is checked, not
            that they are connected alike.
        seed: of the shares.

    Raises:
        ValueError: for other layers, layers of other types, or fewer filters.
    """
    if [type(layer) for layer in narrow.layers] != [type(layer) for layer in wide.layers]:
        raise ValueError(f"wide: expected the layers of {narrow.name}, got those of {wide.name}.")
    random = np.random.default_rng(seed)
    # id(tensor of the wide network) -> which narrow channel each of its channels is a copy of
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
    """Set the wide convolution's weights; which narrow filter each of its filters copies."""
    if new.filters < old.filters:
        raise ValueError(f"{new.name} has {new.filters} filters, expected at least {old.filters}.")
    made = np.arange(new.filters) % old.filters
    kernel, *bias = old.get_weights()
    shares = random.uniform(1 - SPREAD, 1 + SPREAD, (*kernel.shape[:2], len(read), len(made)))
    for channel in range(kernel.shape[2]):
        group = read == channel
        shares[:, :, group] /= shares[:, :, group].sum(axis=2, keepdims=True)
    new.set_weights([kernel[:, :, read][..., made] * shares, *(each[made] for each in bias)])
    return made
