"""One training run in its folder: identity, provenance, callbacks, resuming."""

import dataclasses
import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import zoo
from experiments.compiled_runs import export, take_result
from keras_aaa import data
from keras_aaa.fast.precision import POLICIES
from keras_aaa.hashing import weights_hash
from keras_aaa.models import ModelConfig
from keras_aaa.models.float16_kernels import round_kernels
from keras_aaa.models.surgery import LATENT_CLASSIFIER, encoder, two_headed
from keras_aaa.models.widening import widen
from keras_aaa.results import as_json, check_same_run, provenance, write_json
from keras_aaa.training import (
    LOSSES,
    AutoencoderTask,
    ClassifierTask,
    JointTask,
    Loss,
    Recipe,
    Task,
    TwoHeadedTask,
    train,
)
from keras_aaa.training.callbacks import watch
from keras_aaa.training.compiled import Job
from keras_aaa.training.distribution import is_chief


@dataclasses.dataclass(frozen=True)
class RunContext:
    """The settings that all runs of one command share."""

    dataset: str
    data_dir: str | None
    precision: str
    strategy: tf.distribute.Strategy
    workdir: Path
    checkpoint_seconds: float
    job: Job | None = None  # trainings are written to it instead of being run
    compiled: Path | None = None  # folder of a job; its results replace training

    @property
    def chief(self) -> bool:
        """Whether this process writes the run's files; only one worker does."""
        return is_chief(self.strategy)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A float32 model, its config, and the record of its training or None.

    `latent_layer`: for an autoencoder whose encoder was trained as a classifier, the kernel and the
    bias of the dense layer on its latent.
    """

    name: str
    model: keras.Model
    config: ModelConfig
    record: dict | None
    latent_layer: tuple[np.ndarray, ...] = ()
    pending: bool = False  # a job has yet to train it; these weights are untrained


def from_zoo(name: str) -> Trained:
    """Return the zoo model of that name."""
    built = zoo.info(name).model
    return Trained(name, zoo.load(name), built, None)


def train_in_folder(
    setting: RunContext,
    name: str,
    config: ModelConfig,
    recipe: Recipe,
    *,
    loss: Loss = LOSSES["ce"],
    threat=None,
    classifiers: tuple[Trained, ...] = (),
    start: Trained | None = None,
    alternating_losses: tuple[Loss, ...] = (),
    frozen_encoder: bool = False,
) -> Trained:
    """Train the model `name` in workdir/name, or resume an interrupted run.

    Args:
        setting: data set, precision, strategy, folder.
        name: name of the model and of its folder.
        config: the model to train: an autoencoder if there are `classifiers`, otherwise a
            classifier or a joint network.
        recipe: the hyperparameters.
        loss: the loss to minimise.
        threat: the threat model of the training attack; None trains without an attack.
        classifiers: the frozen classifiers behind the autoencoder.
        start: a model of the same architecture whose weights initialise the run; a narrower one is
            widened. Its `latent_layer` initialises the latent's classifier of a loss with a latent
            weight; without `latent_layer`, that classifier is initialised at random.
        alternating_losses: for a joint network; each gets its own update in every step.
        frozen_encoder: train only the decoder of an autoencoder.

    Returns:
        The model rebuilt in float32, with kernels rounded to float16. Its record holds recipe,
        provenance, history, seconds and examples per second.

    Raises:
        ValueError: if the folder holds another run (lists the fields that differ), or if `start`
            has another architecture, is wider, or is narrower and cannot be widened.
    """
    folder = setting.workdir / name
    spec = data.image_spec(setting.dataset, setting.data_dir)
    config = config.with_sizes(input_shape=spec.shape)
    if not classifiers:
        config = config.with_sizes(classes=spec.classes)
    identity = {
        "dataset": setting.dataset,
        "model": name,
        "architecture": config.architecture,
        "sizes": config.sizes,
        "loss": dataclasses.asdict(loss),
        "then": [dataclasses.asdict(each) for each in alternating_losses],
        "threat": dataclasses.asdict(threat) if threat else None,
        "classifiers": {c.name: None if c.pending else weights_hash(c.model) for c in classifiers},
        "start": {start.name: weights_hash(start.model)} if start else None,
        "precision": setting.precision,
        "recipe": dataclasses.asdict(recipe),
        "frozen_encoder": frozen_encoder,
    }
    with setting.strategy.scope():
        keras.utils.set_random_seed(recipe.seed)
        model = config.build(dtype=POLICIES[setting.precision])
        if start:
            initialise_from(start, model, config, recipe.seed)
        kind = classifiers, alternating_losses, frozen_encoder, start
        task = _task(model, spec.classes, loss, threat, *kind)
    if setting.job is not None:
        export(setting.job, task, recipe, identity, classifiers, start)
        return Trained(name, config.build(), config, None, pending=True)
    if setting.compiled is not None:
        record = take_result(setting.compiled, name, identity, model)
    else:
        record = _train(setting, folder, identity, task, recipe, spec)
    if setting.chief:
        write_json(folder / "run.json", record)
    trained = config.build()
    trained.set_weights(model.get_weights())
    # Round before measuring, so that the zoo can store the measured weights as float16.
    round_kernels(trained)
    return Trained(name, trained, config, record)


def _train(
    setting: RunContext, folder: Path, identity: dict, task: Task, recipe: Recipe, spec
) -> dict:
    """Train, or resume an interrupted training; return the run's record."""
    name = identity["model"]
    record = _claim(folder, identity, writes=setting.chief)
    began = time.monotonic()
    progress = train(
        task,
        recipe,
        train_data=data.load(setting.dataset, "train", setting.data_dir),
        validation_data=data.first(
            data.load(setting.dataset, "validation", setting.data_dir),
            min(recipe.validation_examples, spec.examples["validation"]),
        ),
        workdir=folder,
        precision=setting.precision,
        strategy=setting.strategy,
        callbacks=watch(name, folder) if setting.chief else (),
        checkpoint_seconds=setting.checkpoint_seconds,
    )
    examples = progress.step * recipe.batch_size
    record |= {
        "history": progress.history,
        "training_seconds": progress.seconds,
        "examples_per_second": examples / progress.seconds,
        "step_seconds": progress.seconds / progress.step,
    }
    print(
        f"{name}: {record['examples_per_second']:.0f} examples a second, "
        f"{record['step_seconds'] * 1000:.0f} ms a step ({time.monotonic() - began:.0f} s).",
        flush=True,
    )
    return record


def initialise_from(start: Trained, model: keras.Model, built: ModelConfig, seed: int) -> bool:
    """Set the weights of the model of config `built` to `start`'s; return whether it was widened.

    Raises:
        ValueError: if `start` has another architecture, is wider, or is narrower and cannot be
            widened.
    """
    start_config, wanted_config = (
        (config.architecture, as_json(config.sizes) | {"width": None})
        for config in (start.config, built)
    )
    if start_config != wanted_config:
        raise ValueError(
            f"--start_from: {start.name} is a {start.config.architecture} of {start.config.sizes}, "
            f"expected a {built.architecture} of {built.sizes}."
        )
    if [w.shape for w in start.model.weights] == [w.shape for w in model.weights]:
        model.set_weights(start.model.get_weights())
        return False
    try:
        widen(start.model, model, seed)
    except ValueError as error:
        raise ValueError(
            f"--start_from: {start.name} cannot initialise {model.name}: {error}"
        ) from error
    return True


def _task(
    model, classes, loss, threat, classifiers, alternating_losses, frozen_encoder, start
) -> Task:
    """Return the task of `train_in_folder`; call it in the strategy's scope."""
    if not classifiers:
        if len(model.outputs) == 2:
            return JointTask(model, loss, threat, alternating_losses)
        return ClassifierTask(model, loss, threat)
    if frozen_encoder:
        if start is None:
            raise ValueError(
                "frozen_encoder: expected 0, because the encoder starts from random weights; give "
                "it a trained encoder by --start_from or --encoder_epochs."
            )
        encoder(model).trainable = False
    frozen = tuple(classifier.model for classifier in classifiers)
    if not loss.latent:
        return AutoencoderTask(model, frozen, loss, threat)
    with_latent = two_headed(model, classes)
    if start and start.latent_layer:
        with_latent.get_layer(LATENT_CLASSIFIER).set_weights(start.latent_layer)
    return TwoHeadedTask(with_latent, model, frozen, loss, threat)


def _claim(folder: Path, identity: dict, writes: bool) -> dict:
    path = folder / "run.json"
    identity = as_json(identity)
    if path.exists():
        record = json.loads(path.read_text())
        old = record["identity"]
        # Older files lack newer fields; the defaults of these give the old behaviour. Options of
        # autoencoders were once part of the recipe.
        old.setdefault("frozen_encoder", bool(old["recipe"].get("frozen_encoder")))
        known = _defaults(Recipe) | old["recipe"]
        old["recipe"] = {name: known[name] for name in identity["recipe"]}
        old["loss"] = _defaults(Loss) | old["loss"]
        old["then"] = [_defaults(Loss) | each for each in old.get("then", [])]
        check_same_run(folder, old, identity)
        return record
    record = {"identity": identity, "provenance": provenance()}
    if writes:
        if (folder / "checkpoints").exists():
            raise ValueError(
                f"{folder} holds checkpoints, but no run.json that describes the run. Delete that "
                "folder, or choose another --workdir."
            )
        write_json(path, record)
    return record


def _defaults(of: type) -> dict:
    fields = dataclasses.fields(of)
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
