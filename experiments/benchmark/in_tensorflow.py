"""The contenders that run on TensorFlow: ours, CleverHans, ART, Foolbox.

Each set-up takes (loaded, workload, precision) and returns run(images, labels), a function of numpy
arrays that returns numpy arrays, as a user of the library would call it.
"""

import keras
import numpy as np
import tensorflow as tf

import zoo
from experiments.benchmark.workloads import LoadedWorkload, Workload
from keras_aaa.attacks import pgd
from keras_aaa.evaluation import craft
from keras_aaa.fast.fast_copy import fast_copy
from keras_aaa.fast.precision import POLICIES
from keras_aaa.training import LOSSES, AutoencoderTask
from keras_aaa.training.step import StepInputs, make_step


def our_pgd(loaded: LoadedWorkload, workload: Workload, precision: str):
    model = fast_copy(loaded.defence, precision)
    settings = {"threat": loaded.threat, "steps": workload.steps, "step_size": workload.step_size}

    def attack(x, y, picked, index):
        return pgd(model, x, y, seed=index, **settings)

    def run(images, labels):
        # As in an evaluation, which runs two halves of a batch in parallel.
        half = -(-len(images) // 2)
        return craft(attack, tf.constant(images), tf.constant(labels), loaded.threat, batch=half)

    return run


def our_logits(loaded: LoadedWorkload, workload: Workload, precision: str):
    model = fast_copy(loaded.defence, precision)
    run = tf.function(lambda images: model(images, training=False))
    return lambda images, labels: run(images).numpy()


def our_training(loaded: LoadedWorkload, workload: Workload, precision: str):
    built = zoo.info(workload.autoencoder).model
    autoencoder = built.build(dtype=POLICIES[precision])
    autoencoder.set_weights(loaded.autoencoder.get_weights())
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(autoencoder.trainable_variables)
    task = AutoencoderTask(autoencoder, (loaded.classifier,), LOSSES["ce_mse"], loaded.threat)
    steps = {}

    def run(images, labels):
        size = len(images)
        if size not in steps:  # the loss is divided by the batch size
            steps[size] = tf.function(make_step(task, {task.loss: optimizer}, size, precision))
        noise = tf.random.uniform(images.shape, -1.0, 1.0)
        eps, step_size = tf.constant(loaded.threat.eps), tf.constant(workload.step_size)
        inputs = StepInputs(images, labels, noise, eps, eps, tf.constant(workload.steps), step_size)
        sums = steps[size](inputs, 0)
        return np.asarray(sums["loss"])

    return run


def cleverhans_pgd(loaded: LoadedWorkload, workload: Workload, precision: str):
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    def run(images, labels):
        return projected_gradient_descent(
            loaded.defence,
            tf.constant(images),
            eps=loaded.threat.eps,
            eps_iter=workload.step_size,
            nb_iter=workload.steps,
            norm=loaded.threat.metric.order,
            clip_min=0.0,
            clip_max=1.0,
            y=labels,
            rand_init=1.0,
        ).numpy()

    return run


def _art_classifier(loaded: LoadedWorkload, **settings):
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        model=loaded.defence,
        nb_classes=loaded.defence.output_shape[-1],
        input_shape=loaded.images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
        **settings,
    )


def _art_attack(loaded: LoadedWorkload, workload: Workload, classifier, batch_size: int):
    from art.attacks.evasion import ProjectedGradientDescentTensorFlowV2

    return ProjectedGradientDescentTensorFlowV2(
        classifier,
        eps=loaded.threat.eps,
        eps_step=workload.step_size,
        max_iter=workload.steps,
        num_random_init=1,
        batch_size=batch_size,
        verbose=False,
    )


def art_pgd(loaded: LoadedWorkload, workload: Workload, precision: str):
    classifier = _art_classifier(loaded)
    return lambda images, labels: _art_attack(loaded, workload, classifier, len(images)).generate(
        images, labels
    )


def art_training(loaded: LoadedWorkload, workload: Workload, precision: str):
    from art.defences.trainer import AdversarialTrainer

    classifier = _art_classifier(loaded, optimizer=keras.optimizers.Adam(1e-3))

    def run(images, labels):
        attack = _art_attack(loaded, workload, classifier, len(images))
        trainer = AdversarialTrainer(classifier, attack, ratio=1.0)
        trainer.fit(images, labels, batch_size=len(images), nb_epochs=1)

    return run


def foolbox_pgd(loaded: LoadedWorkload, workload: Workload, precision: str):
    import foolbox

    model = foolbox.TensorFlowModel(loaded.defence, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(
        abs_stepsize=workload.step_size, steps=workload.steps, random_start=True
    )

    def run(images, labels):
        _, clipped, _ = attack(
            model, tf.constant(images), tf.constant(labels), epsilons=loaded.threat.eps
        )
        return clipped.numpy()

    return run
