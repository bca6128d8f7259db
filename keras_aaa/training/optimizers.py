"""The optimizer that every training uses."""

import keras

from keras_aaa.training.recipe import Recipe


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
