"""The joint network of the Revisiting paper: its halves, its two ways of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aaa.models import build
from keras_aaa.models.autoencoders import classifying_half, reconstructing_half
from keras_aaa.training import LOSSES, ClassifierTask, JointTask, Loss
from keras_aaa.training.step import StepInputs, make_step

IMAGES = tf.random.stateless_uniform((8, 28, 28, 1), (1, 2))
LABELS = tf.constant([0, 1, 2, 3, 4, 5, 6, 7], tf.int64)


def taken_step(loss, alternating_losses=(), precision="float32"):
    """A joint network, its weights before one training step, and each loss's updates."""
    keras.utils.set_random_seed(0)
    joint = build("joint_network", width=4)
    before = joint.get_weights()
    task = JointTask(joint, loss, alternating_losses=alternating_losses)
    optimizers = {each: keras.optimizers.Adam(1e-3) for each in task.losses}
    for optimizer in optimizers.values():
        optimizer.build(joint.trainable_variables)
    step = tf.function(make_step(task, optimizers, 8, precision))
    nothing = tf.zeros(())
    step(StepInputs(IMAGES, LABELS, IMAGES, nothing, nothing, tf.constant(0), nothing), 0)
    return joint, before, [int(optimizer.iterations) for optimizer in optimizers.values()]


def parts(joint):
    """Indices of the weights of encoder, classification layer and decoder."""
    kinds = {"encoder": [], "classifier": [], "decoder": []}
    names = [layer.name for layer in joint.layers]
    for index, weight in enumerate(joint.weights):
        layer = joint.get_layer(weight.path.split("/")[-2])
        after = names.index(layer.name) > names.index("latent")
        kind = "classifier" if isinstance(layer, keras.layers.Dense) else "decoder"
        kinds[kind if after else "encoder"].append(index)
    return kinds


def moved(joint, before, indices):
    return [not np.array_equal(joint.get_weights()[i], before[i]) for i in indices]


def test_the_halves_share_the_weights_and_the_first_is_the_latent_classifier():
    joint = build("joint_network", width=4)
    logits, reconstruction = joint(IMAGES)
    np.testing.assert_array_equal(classifying_half(joint)(IMAGES), logits)
    np.testing.assert_array_equal(reconstructing_half(joint)(IMAGES), reconstruction)
    alone = build("latent_classifier", width=4)
    alone.set_weights(classifying_half(joint).get_weights())
    np.testing.assert_allclose(alone(IMAGES), logits, atol=1e-6)


def test_cross_entropy_alone_leaves_the_decoder_as_it_was():
    joint, before, updates = taken_step(LOSSES["ce"])
    kinds = parts(joint)
    assert all(moved(joint, before, kinds["encoder"] + kinds["classifier"]))
    assert kinds["decoder"] and not any(moved(joint, before, kinds["decoder"]))
    assert updates == [1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_lambda_trains_both_halves_by_one_update(precision):
    joint, before, updates = taken_step(Loss(1.0, 4.0), precision=precision)
    assert all(moved(joint, before, range(len(before)))) and updates == [1]


def test_gamma_reconstructions_follow_each_cross_entropy_step():
    joint, before, updates = taken_step(LOSSES["ce"], (LOSSES["mse"],) * 2)
    assert all(moved(joint, before, range(len(before)))) and updates == [1, 2]


def test_reconstructions_have_no_momentum_of_the_cross_entropy():
    # What has no part in the reconstruction moves as if there were none.
    alone, *_ = taken_step(LOSSES["ce"])
    both, *_ = taken_step(LOSSES["ce"], (LOSSES["mse"],) * 2)
    kinds = parts(both)
    assert not any(moved(both, alone.get_weights(), kinds["classifier"]))
    assert all(moved(both, alone.get_weights(), kinds["encoder"] + kinds["decoder"]))


def test_a_task_wants_two_outputs_of_a_joint_network():
    with pytest.raises(ValueError, match="a model of 2 outputs, got 1"):
        JointTask(build("lenet5"), LOSSES["ce"])
    with pytest.raises(ValueError, match="a model of 1 outputs, got 2"):
        ClassifierTask(build("joint_network"))


def test_a_joint_network_that_answers_with_probabilities_is_refused():
    joint = build("joint_network", width=2)
    logits, reconstruction = joint.outputs
    soft = keras.Model(joint.inputs, [keras.layers.Softmax()(logits), reconstruction])
    with pytest.raises(ValueError, match=r"returns logits, .* ends in softmax"):
        JointTask(soft, LOSSES["ce"])
