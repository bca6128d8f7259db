"""Image data sets from tensorflow-datasets; MNIST is included in the package."""

from keras_aaa.data.batches import first, training_batches
from keras_aaa.data.load import (
    DataNotFoundError,
    ImageSpec,
    at_hand,
    encoded,
    image_spec,
    load,
    stored_as,
)

__all__ = [
    "DataNotFoundError",
    "ImageSpec",
    "at_hand",
    "encoded",
    "first",
    "image_spec",
    "load",
    "stored_as",
    "training_batches",
]
