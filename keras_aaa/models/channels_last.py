"""Keras' layers of images, pinned to NHWC.

Otherwise a user's keras.config.set_image_data_format("channels_first") would change what the
architectures of this package compute.
"""

from functools import partial

from keras import layers

_pinned = {"data_format": "channels_last"}
AveragePooling2D = partial(layers.AveragePooling2D, **_pinned)
Conv2D = partial(layers.Conv2D, **_pinned)
Conv2DTranspose = partial(layers.Conv2DTranspose, **_pinned)
Flatten = partial(layers.Flatten, **_pinned)
GlobalAveragePooling1D = partial(layers.GlobalAveragePooling1D, **_pinned)
GlobalAveragePooling2D = partial(layers.GlobalAveragePooling2D, **_pinned)
MaxPooling2D = partial(layers.MaxPooling2D, **_pinned)
UpSampling2D = partial(layers.UpSampling2D, **_pinned)
