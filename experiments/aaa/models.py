"""The models of one AAA run: trained in its folder, or taken from the zoo."""

from dataclasses import dataclass, field, replace

import keras

import zoo
from experiments.aaa.studies import AaaStudy
from experiments.train_run import RunContext, Trained, from_zoo, initialise_from, train_in_folder
from keras_aaa import data
from keras_aaa.hashing import weights_hash
from keras_aaa.models import ModelConfig
from keras_aaa.models.surgery import LATENT_CLASSIFIER, encoder
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Loss, Recipe

ENSEMBLE = "ensemble"  # used in place of a loss's name


@dataclass(frozen=True)
class Plan:
    """The models of a run, and where they come from.

    Args:
        losses: name -> loss of each autoencoder; ENSEMBLE for the one trained with all classifiers.
        autoencoder: its architecture.
        variant: parts of its name after data set and loss.
        recipes: by kind of training.
        baseline: whether the run includes the adversarially trained classifiers.
        train_classifiers: names of classifiers to train even if the zoo has them.
        from_zoo: train nothing.
        start_from: zoo name of an autoencoder whose weights initialise the autoencoders, or of a
            classifier whose weights initialise its own training; or None.
        encoder_epochs: epochs of a first training of the encoder alone, as a classifier.
        frozen_encoder: whether only the decoders of the autoencoders are trained.
    """

    losses: dict[str, Loss]
    autoencoder: ModelConfig
    variant: tuple[str, ...]
    recipes: dict[str, Recipe]
    baseline: bool
    train_classifiers: tuple[str, ...]
    from_zoo: bool
    start_from: str | None
    encoder_epochs: int
    frozen_encoder: bool = False


@dataclass
class RunModels:
    """The models by table row, and the classifiers that an autoencoder is put before."""

    classifiers: dict[str, Trained]
    baselines: dict[str, Trained] = field(default_factory=dict)  # by the natural one's name
    autoencoders: dict[str, Trained] = field(default_factory=dict)  # by loss, or ENSEMBLE

    def all(self) -> list[Trained]:
        """Every model, in the order of the tables."""
        groups = (self.classifiers, self.baselines, self.autoencoders)
        return [run for group in groups for run in group.values()]


def check_plan(plan: Plan, dataset: str, shape: tuple[int, int, int]) -> None:
    """Raise ValueError before any training if the zoo's models do not fit the plan.

    Args:
        plan: the plan that the flags describe.
        dataset: its name.
        shape: of its images, (h, w, c).
    """
    for loss in plan.losses if plan.from_zoo else ():
        card = zoo.info(autoencoder_name(dataset, loss, plan.variant))
        for name, wanted in plan.autoencoder.sizes.items():
            if (has := card.model.sizes.get(name, wanted)) != wanted:
                raise ValueError(
                    f"--{name}: {card.name} of the zoo has {has}, not {wanted}; give {has}, or "
                    f"leave --{name} out."
                )
    start = _start(plan, "", of_any_name=True)
    if start and plan.losses:
        config = plan.autoencoder.with_sizes(input_shape=shape)
        if initialise_from(start, config.build(), config, plan.recipes["aaa"].seed):
            print(f"{start.name} is narrower: its weights are widened.", flush=True)


def classifiers(setting: RunContext, study: AaaStudy, plan: Plan) -> RunModels:
    """Return the study's natural classifiers; take them from the zoo if it has them."""
    trained = {}
    for name, config in study.classifiers.items():
        if plan.from_zoo or (name in zoo.list_models() and name not in plan.train_classifiers):
            trained[name] = from_zoo(name)
            print(f"{name}: taken from the zoo.")
        else:
            start, recipe = _start(plan, name), plan.recipes["natural"]
            trained[name] = train_in_folder(setting, name, config, recipe, start=start)
    return RunModels(trained)


def attacked(
    study: AaaStudy, models: RunModels, plan: Plan, defence: keras.Model
) -> list[tuple[keras.Model, list[Recipe]]]:
    """Return the models that `add_robust` will train under attack, with the recipes of their runs.

    Args:
        study, models, plan: as for add_robust.
        defence: an autoencoder before the source classifier.
    """
    if plan.from_zoo:
        return []
    pairs = [(defence, [plan.recipes["aaa"]] * len(plan.losses))]
    if plan.losses and plan.encoder_epochs:
        shape, classes = defence.input_shape[1:], defence.output_shape[-1]
        model = _encoder_classifier(plan).build(input_shape=shape, classes=classes)
        pairs.append((model, [_encoder_recipe(plan)]))
    for name in study.baselines if plan.baseline else ():
        pairs.append((models.classifiers[name].model, [plan.recipes["adversarial"]]))
    return pairs


def measured(
    study: AaaStudy,
    models: RunModels,
    plan: Plan,
    defence: keras.Model,
    runs: list[tuple[tuple[int, ...], int]],
) -> list[tuple[keras.Model, int]]:
    """Return the models that the tests will attack, with the number of steps over all examples.

    Args:
        study, models, plan, defence: as for attacked.
        runs: (numbers of steps, number of examples) each, from `experiments.measure.parts`.
            Natural classifiers are misclassified after the first number of steps.
    """
    (first, *_), examples = runs[0]
    whole = sum(steps[-1] * count for steps, count in runs)
    baselines = study.baselines if plan.baseline else ()
    pairs = [
        (models.classifiers[name].model, first * examples + whole * (name in baselines))
        for name in study.tables
    ]
    return [*pairs, (defence, whole * len(study.tables) * len(plan.losses))]


def add_robust(
    setting: RunContext, study: AaaStudy, models: RunModels, plan: Plan, threat: ThreatModel
) -> None:
    """Add the autoencoders and the adversarially trained classifiers that the plan asks for."""
    initial = _with_encoder(setting, plan, threat) if plan.losses and plan.encoder_epochs else None
    for name, loss in plan.losses.items():
        model = autoencoder_name(setting.dataset, name, plan.variant)
        sources = study.seen() if name == ENSEMBLE else [study.source]
        models.autoencoders[name] = (
            from_zoo(model)
            if plan.from_zoo
            else train_in_folder(
                setting,
                model,
                plan.autoencoder,
                plan.recipes["aaa"],
                loss=loss,
                threat=threat,
                frozen_encoder=plan.frozen_encoder,
                classifiers=tuple(models.classifiers[classifier] for classifier in sources),
                start=initial or _start(plan, model, of_any_name=True),
            )
        )
    for name in study.baselines if plan.baseline else ():
        model, recipe = f"{name}_pgd", plan.recipes["adversarial"]
        if plan.from_zoo and model not in zoo.list_models():
            print(f"{model}: not in the zoo, left out.")
            continue
        models.baselines[name] = (
            from_zoo(model)
            if plan.from_zoo
            else train_in_folder(
                setting,
                model,
                study.classifiers[name],
                recipe,
                threat=threat,
                start=_start(plan, model),
            )
        )


def _with_encoder(setting: RunContext, plan: Plan, threat: ThreatModel) -> Trained:
    """Return the autoencoder that initialises all others; only its encoder was trained.

    The encoder is trained under attack, as a classifier. With --start_from, that model initialises
    the decoder, and the encoder before its training.
    """
    recipe = _encoder_recipe(plan)
    spec = data.image_spec(setting.dataset, setting.data_dir)
    config = plan.autoencoder.with_sizes(input_shape=spec.shape)
    keras.utils.set_random_seed(recipe.seed)
    model = config.build()
    initial = None
    if start := _start(plan, "encoder", of_any_name=True):
        initialise_from(start, model, config, recipe.seed)
        whole = _encoder_classifier(plan).with_sizes(input_shape=spec.shape, classes=spec.classes)
        classifier = whole.build()
        encoder(classifier).set_weights(encoder(model).get_weights())
        initial = Trained(start.name, classifier, whole, None)
    trained = train_in_folder(
        setting, "encoder", _encoder_classifier(plan), recipe, threat=threat, start=initial
    )
    encoder(model).set_weights(encoder(trained.model).get_weights())
    latent_layer = tuple(trained.model.get_layer(LATENT_CLASSIFIER).get_weights())
    return Trained(trained.name, model, config, None, latent_layer)


def _encoder_classifier(plan: Plan) -> ModelConfig:
    sizes = {"autoencoder": plan.autoencoder.architecture, **plan.autoencoder.sizes}
    return ModelConfig("encoder_classifier", sizes)


def _encoder_recipe(plan: Plan) -> Recipe:
    return replace(plan.recipes["adversarial"], epochs=plan.encoder_epochs)


def _start(plan: Plan, name: str, of_any_name: bool = False) -> Trained | None:
    """Return the zoo model that initialises `name`, or None; autoencoders accept any other one."""
    start_from = plan.start_from
    if start_from is None or not (
        start_from == name or (of_any_name and zoo.info(start_from).kind == "autoencoder")
    ):
        return None
    return from_zoo(start_from)


def autoencoder_name(dataset: str, loss: str, variant: tuple[str, ...] = ()) -> str:
    """Return the zoo's name: aaa_<dataset>_<loss>[_<variant>]; an ensemble's loss is ce_mse."""
    if loss == ENSEMBLE:
        loss, variant = "ce_mse", (*variant, ENSEMBLE)
    return "_".join(["aaa", dataset, loss, *variant])


def origin(run: Trained) -> dict:
    """Return a model's origin: the record of its training here, or fields of its zoo card."""
    if run.record:
        return run.record
    card = zoo.info(run.name)
    return {
        "origin": "zoo",
        "version": card.version,
        "weights": weights_hash(run.model),
        "command": card.training["command"],
        "commit": card.provenance["commit"],
    }


def adversarial_history(run: Trained) -> list[dict]:
    """Return the history of adversarial training by epoch, from this run or from the zoo's card."""
    if run.record:
        return run.record["history"] if run.record["identity"]["threat"] else []
    training = zoo.info(run.name).training
    return training["history"] if training["adversarial"] else []
