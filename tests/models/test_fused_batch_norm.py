import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_aaa.models.fused_batch_norm import FusedBatchNormalization


def trained(layer, images, upstream):
    """Outputs, gradients and moving statistics of a training call."""
    random = np.random.default_rng(1)
    layer.build(images.shape)
    layer.set_weights([random.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()])
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
    weights = [variable.value for variable in layer.trainable_variables]
    gradients = tape.gradient(outputs, [images, *weights], output_gradients=upstream)
    return [outputs, *gradients, *layer.get_weights()]


@pytest.mark.parametrize("shape", [(4, 6, 6, 5), (2, 1, 3, 1), (1, 4, 4, 3)])
def test_it_computes_what_keras_does(shape):
    random = np.random.default_rng(0)
    images, upstream = (tf.constant(random.normal(1.0, 2.0, shape), tf.float32) for _ in range(2))
    settings = {"momentum": 0.9, "synchronized": True}
    ours = trained(FusedBatchNormalization(**settings), images, upstream)
    kerass = trained(layers.BatchNormalization(**settings), images, upstream)
    for a, b in zip(ours, kerass, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def test_it_is_keras_own_where_nothing_can_be_fused():
    images = tf.constant(np.random.default_rng(0).normal(size=(4, 6, 6, 5)), tf.float32)
    for settings in ({"scale": False}, {"center": False}, {"axis": 1}):
        found = [
            layer(images, training=True)
            for layer in (
                FusedBatchNormalization(**settings),
                layers.BatchNormalization(**settings),
            )
        ]
        np.testing.assert_array_equal(*found)
    frozen = FusedBatchNormalization()
    frozen.build(images.shape)
    frozen.trainable = False
    before = frozen.get_weights()
    frozen(images, training=True)
    for old, new in zip(before, frozen.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, FusedBatchNormalization()(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[1]) is FusedBatchNormalization
