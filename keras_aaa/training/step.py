"""The training step: attack, loss, gradient, update, as one tf.function."""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from keras_aaa.attacks._engine.loop import ascend
from keras_aaa.attacks._pgd import steepest_ascent
from keras_aaa.attacks.losses import cross_entropy
from keras_aaa.fast.fast_copy import fast_copy, freeze
from keras_aaa.training.averages import Averages
from keras_aaa.training.losses import Loss
from keras_aaa.training.task import Task


def make_step(
    task: Task,
    optimizers: Mapping[Loss, keras.optimizers.Optimizer],
    batch_size: int,
    precision: str,
    averages: Averages | None = None,
) -> Callable:
    """Return the replica's step function.

    The attack and the frozen classifiers run as fast copies, cast once a step; under "bfloat16" the
    trained model should have been built under mixed_bfloat16. Logits, loss and weights
    are float32.

    Args:
        task: what to train.
        optimizers: one for each of task.losses, built for the trained model's variables. Their
            apply() sums over replicas.
        batch_size: global; the loss is divided by it.
        precision: "float32" or "bfloat16".
        averages: of the trained model's weights, which each step updates; None for none.

    Returns:
        step(images, labels, noise, reach, eps, attack_steps, attack_step_size, classifier) ->
        dict of sums over the replica's examples: loss, accuracy (correct adversarial examples). All
        but `classifier` (an index, Python int) are tensors. The attack starts at noise, uniform in
        [-1, 1), times `reach`, and stays in the ball of radius `eps` (both in image units).
    """
    variables = task.trained.trainable_variables
    autoencoder = task.autoencoder
    classifiers = list(task.classifiers)
    attacked = autoencoder if autoencoder is not None else task.defences()[0]
    attacked = fast_copy(attacked, precision)
    if autoencoder is not None:
        classifiers = [fast_copy(c, precision, exact_kernels=0) for c in classifiers]

    def attack(images, labels, noise, reach, eps, steps, step_size, classifier):
        first = freeze(attacked)

        def loss(x):
            output = first(x)
            logits = classifier(output) if autoencoder is not None else output
            return cross_entropy(logits, labels), logits

        return ascend(
            loss,
            images,
            task.threat.project(images + reach * noise, images, eps),
            threat=task.threat,
            steps=steps,
            rule=steepest_ascent(task.threat, step_size),
            eps=eps,
        )[0]

    def update(loss, x, images, labels, frozen):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            outputs = task.outputs(task.trained(x, training=True), frozen)
            logits, reconstruction, latent_logits = outputs
            losses = loss(images, labels, reconstruction, logits, latent_logits)
            total = tf.reduce_sum(losses) / batch_size
        # What a loss does not reach (a decoder without mse) has a gradient of zeros.
        gradients = tape.gradient(
            total,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        optimizers[loss].apply(gradients, variables)
        return losses, logits

    def step(images, labels, noise, reach, eps, attack_steps, attack_step_size, classifier):
        frozen = freeze(classifiers[classifier]) if autoencoder is not None else None
        x = images
        if task.threat is not None:
            settings = (noise, reach, eps, attack_steps, attack_step_size)
            x = attack(images, labels, *settings, frozen)
        losses, logits = update(task.loss, x, images, labels, frozen)
        for loss in task.then:
            update(loss, x, images, labels, frozen)
        if averages is not None:
            averages.update()
        correct = tf.equal(tf.argmax(logits, axis=-1), labels)
        return {
            "loss": tf.reduce_sum(losses),
            "accuracy": tf.reduce_sum(tf.cast(correct, tf.float32)),
        }

    return step
