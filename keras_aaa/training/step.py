"""The training step (attack, loss, gradient, update) and the optimizer that it uses."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_aaa.attacks._engine.loop import ascend
from keras_aaa.attacks._pgd import steepest_ascent
from keras_aaa.attacks.losses import cross_entropy
from keras_aaa.fast.fast_copy import fast_copy, freeze
from keras_aaa.norms import project
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training.averages import Averages
from keras_aaa.training.losses import Loss
from keras_aaa.training.recipe import Recipe
from keras_aaa.training.task import Task


class StepInputs(NamedTuple):
    """The inputs of one replica's step; all are tensors.

    Args:
        images: float32 [n, h, w, c] in [0, 1].
        labels: int64 [n].
        noise: float32, shaped as the images, uniform in [-1, 1).
        start_noise: the attack starts at images + start_noise * noise; image units.
        eps: radius of the ball that the attack stays in; image units.
        attack_steps: int32.
        attack_step_size: image units.
    """

    images: tf.Tensor
    labels: tf.Tensor
    noise: tf.Tensor
    start_noise: tf.Tensor
    eps: tf.Tensor
    attack_steps: tf.Tensor
    attack_step_size: tf.Tensor


def make_step(
    task: Task,
    optimizers: Mapping[Loss, keras.optimizers.Optimizer],
    batch_size: int,
    precision: str,
    averages: Averages | None = None,
) -> Callable[[StepInputs, int], dict[str, tf.Tensor]]:
    """Return the replica's step function.

    The attack and the frozen classifiers run as fast copies, which are cast once per step. For
    "bfloat16", build the trained model under mixed_bfloat16. Logits, loss and weights are float32.

    Args:
        task: the task to train.
        optimizers: one for each of task.losses, built for the trained model's variables. Their
            apply() sums over replicas.
        batch_size: global; the loss is divided by it.
        precision: "float32" or "bfloat16".
        averages: averages of the trained model's weights, which each step updates, or None.

    Returns:
        step(inputs, classifier) -> sums over the replica's examples: loss, accuracy (number of
        correct adversarial examples). `classifier` is the index of the frozen classifier, a Python
        int.
    """
    variables = task.trained.trainable_variables
    attacked = fast_copy(task.attacked, precision)
    classifiers = [fast_copy(c, precision, exact_kernels=0) for c in task.classifiers]

    def attack(threat: ThreatModel, inputs: StepInputs, classifier):
        first = freeze(attacked)

        def loss(x):
            output = first(x)
            logits = output if classifier is None else classifier(output)
            return cross_entropy(logits, inputs.labels), logits

        start = inputs.images + inputs.start_noise * inputs.noise
        return ascend(
            loss,
            inputs.images,
            project(start, inputs.images, threat.metric, inputs.eps),
            norm=threat.metric,
            eps=inputs.eps,
            steps=inputs.attack_steps,
            rule=steepest_ascent(threat.metric, inputs.attack_step_size),
        )[0]

    def update(loss, x, inputs: StepInputs, classifier):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            outputs = task.outputs(task.trained(x, training=True), classifier)
            losses = loss(
                inputs.images,
                inputs.labels,
                outputs.reconstruction,
                outputs.logits,
                outputs.latent_logits,
            )
            total = tf.reduce_sum(losses) / batch_size
        # A weight that the loss does not depend on (a decoder's without mse) gets a zero gradient.
        gradients = tape.gradient(
            total,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        optimizers[loss].apply(gradients, variables)
        return losses, outputs.logits

    def step(inputs: StepInputs, classifier: int) -> dict[str, tf.Tensor]:
        frozen = freeze(classifiers[classifier]) if classifiers else None
        x = inputs.images if task.threat is None else attack(task.threat, inputs, frozen)
        losses, logits = update(task.loss, x, inputs, frozen)
        for loss in task.alternating_losses:
            update(loss, x, inputs, frozen)
        if averages is not None:
            averages.update()
        correct = tf.equal(tf.argmax(logits, axis=-1), inputs.labels)
        return {
            "loss": tf.reduce_sum(losses),
            "accuracy": tf.reduce_sum(tf.cast(correct, tf.float32)),
        }

    return step


def make_optimizer(recipe: Recipe, model: keras.Model) -> keras.optimizers.Optimizer:
    """Return Adam for the model's trainable variables; weight decay acts on kernels only.

    Args:
        recipe: gives the first learning rate and the weight decay.
        model: the model to train; call this in the scope of its strategy.
    """
    optimizer = keras.optimizers.Adam(
        recipe.learning_rate, weight_decay=recipe.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    return optimizer
