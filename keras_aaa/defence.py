"""The one idea of this library: a defence is a callable from images to logits."""

from collections.abc import Callable

import tensorflow as tf

# images float32 [n, h, w, c] in [0, 1] -> logits float32 [n, classes]. A keras.Model is one, called
# with training=False; so are a fast copy, a black-box classifier and a served model.
Defence = Callable[[tf.Tensor], tf.Tensor]
