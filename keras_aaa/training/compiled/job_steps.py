"""The training steps and the validation of a job on the device. Copied into each job folder."""

import dataclasses
import gzip
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import schedule
from jax import export, lax, random


def module(folder: Path, described: dict, platform: str | None = None):
    """Return a compiled module as a function that JAX traces; it gets zeros for ignored arguments.

    Args:
        folder: the training's folder.
        described: the module's entry in training.json.
        platform: "cpu", "cuda", "rocm" or "tpu"; None for the one that JAX runs on.
    """
    takes, gives = (
        [jax.ShapeDtypeStruct(tuple(shape), dtype) for shape, dtype in described[key]]
        for key in ("takes", "gives")
    )
    artifact = gzip.decompress((folder / described["file"]).read_bytes())

    def same_types(*arguments):
        return tuple(jnp.zeros(each.shape, each.dtype) for each in gives)

    exported = dataclasses.replace(
        export.export(jax.jit(same_types), platforms=[platform] if platform else None)(*takes),
        mlir_module_serialized=artifact,
        module_kept_var_idx=tuple(range(len(takes))),
    )

    def call(*arguments):
        ignored = [jnp.zeros(each.shape, each.dtype) for each in takes[len(arguments) :]]
        return exported.call(*arguments, *ignored)

    return call


def steps_function(spec, modules, sharding, loops: bool):
    """Return steps(state, n, table, frozen, images, labels) -> (state, sums of loss and accuracy).

    It takes n steps from table["first"] on. The table has the settings from planned_settings.

    Args:
        spec: the training's description, which job_training makes.
        modules: one step for each frozen classifier, or a single step.
        sharding: how a batch is divided over the devices.
        loops: whether the loop runs on the device. If not, a call takes one step.
    """
    recipe, size, states = spec.recipe, spec.recipe.batch_size, len(spec.state)
    key = random.key(recipe.seed)

    def augmented(x, step):
        step_key = random.fold_in(random.fold_in(key, 1), step)
        shift_key, flip_key, noise_key = random.split(step_key, 3)
        if recipe.shift:  # as in train(): the borders are padded with the mirror image
            s = recipe.shift
            padded = jnp.pad(x, ((0, 0), (s, s), (s, s), (0, 0)), mode="reflect")
            corners = random.randint(shift_key, (size, 2), 0, 2 * s + 1)

            def crop(image, corner):
                return lax.dynamic_slice(image, (corner[0], corner[1], 0), spec.image_shape)

            x = jax.vmap(crop)(padded, corners)
        if recipe.flip:
            flipped = random.bernoulli(flip_key, 0.5, (size, 1, 1, 1))
            x = jnp.where(flipped, x[:, :, ::-1], x)
        noise = random.uniform(noise_key, x.shape, jnp.float32, -1.0, 1.0)
        return x.astype(jnp.float32) / 255, noise

    def order(epoch):
        return random.permutation(random.fold_in(random.fold_in(key, 0), epoch), spec.examples)

    def one(index, state, table, orders, frozen, images, labels):
        step = table["first"] + index
        epoch = step // spec.steps_per_epoch - table["first"] // spec.steps_per_epoch
        begin = step % spec.steps_per_epoch * size
        picked = lax.dynamic_slice(orders, (epoch, begin), (1, size))[0]
        x, noise = augmented(images[picked], step)
        batch = lax.with_sharding_constraint((x, labels[picked], noise), sharding)
        names = ("reach", "eps", "attack_steps", "step_size", "rate")
        settings = [table[name][index] for name in names]

        def take(run, state, fixed):
            return run(*batch, *settings, *state, *fixed)[: 2 + states]

        branches = [
            lambda state, run=run, fixed=fixed: take(run, state, fixed)
            for run, fixed in zip(modules, frozen, strict=True)
        ]
        loss, accuracy, *state = lax.switch(table["classifier"][index], branches, state)
        return state, jnp.stack([loss, accuracy]).astype(jnp.float64)

    def orders_from(table):
        epoch = table["first"] // spec.steps_per_epoch
        return jnp.stack([order(epoch), order(epoch + 1)])

    def looped(state, n, table, frozen, images, labels):
        orders = orders_from(table)

        def body(index, carry):
            state, sums = carry
            state, step_sums = one(index, state, table, orders, frozen, images, labels)
            return state, sums + step_sums

        # Not lax.scan: the number of steps is an argument, so one executable serves every number.
        return lax.fori_loop(0, n, body, (state, jnp.zeros(2)))

    def single(state, n, table, frozen, images, labels):
        return one(0, state, table, orders_from(table), frozen, images, labels)

    return looped if loops else single


def planned_settings(
    spec, length: int, step: int, epochs: int, val_losses
) -> dict[str, np.ndarray]:
    """Return the scheduled settings of `length` steps from `step` on, one array per setting."""
    recipe, total = spec.recipe, epochs * spec.steps_per_epoch
    rows = []
    for k in range(step, step + length):
        attack = schedule.attack_settings(recipe, k, total)
        fraction = schedule.eps_fraction(recipe, k, spec.steps_per_epoch)
        eps = fraction * (spec.eps or 0.0)
        rate = schedule.learning_rate(recipe, min(k, total), total, val_losses)
        drawn = schedule.drawn_classifier(recipe.seed, k, len(spec.modules["step"]))
        size = fraction * attack.step_size
        rows.append((eps * attack.start_noise, eps * attack.ball, attack.steps, size, rate, drawn))
    reach, ball, steps, sizes, rates, drawn = (np.array(c) for c in zip(*rows, strict=True))
    return {
        "first": np.array(step, np.int64),
        "reach": reach.astype(np.float32),
        "eps": ball.astype(np.float32),
        "attack_steps": steps.astype(np.int32),
        "step_size": sizes.astype(np.float32),
        "rate": rates.astype(np.float32),
        "classifier": drawn.astype(np.int32),
    }


def validation_function(spec, run, loops: bool):
    """Return validate(variables, frozen, images, labels) -> sums: correct clean, under PGD, loss.

    Args:
        spec, loops: as for steps_function.
        run: the compiled validation of one batch.
    """
    count, size = spec.recipe.validation_examples, spec.validation_batch
    key = random.fold_in(random.key(0), 2)  # a fixed random start, as in train()

    def validate(variables, fixed, images, labels):
        def add(index, sums):
            places = index * size + jnp.arange(size)
            picked = places % count  # the first examples fill up the last batch
            x = images[picked].astype(jnp.float32) / 255
            noise = random.uniform(random.fold_in(key, index), x.shape, jnp.float32, -1.0, 1.0)
            scores = run(x, labels[picked], noise, *variables, *fixed)[:3]
            return sums + jnp.stack(
                [jnp.sum(jnp.where(places < count, each, 0)) for each in scores]
            )

        batches, sums = -(-count // size), jnp.zeros(3)
        if loops:
            return lax.fori_loop(0, batches, add, sums)
        for index in range(batches):
            sums = add(index, sums)
        return sums

    return validate
