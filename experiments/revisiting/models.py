"""The models of the study; each is trained when it is first needed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import keras

import zoo
from experiments.revisiting.roles import DEFENCES, ROLES
from experiments.revisiting.study import RevisitingStudy
from experiments.train_run import RunContext, Trained, from_zoo, train_in_folder
from keras_aaa.models import defend
from keras_aaa.models.autoencoders import classifying_half
from keras_aaa.threat_model import ThreatModel
from keras_aaa.training import Recipe


@dataclass(frozen=True)
class SeededModels:
    """One model of each role and seed, in the run's folder.

    Args:
        setting: data set, precision, folder.
        study: the study, with its architectures.
        recipes: by a role's training; a model's seed replaces the recipe's.
        threat: the threat model of adversarial training.
        from_zoo: take the first seed's models from the zoo if the study gives them a zoo name.
    """

    setting: RunContext
    study: RevisitingStudy
    recipes: Mapping[str, Recipe]
    threat: ThreatModel
    from_zoo: bool = False
    _trained: dict[tuple[str, int], Trained] = field(default_factory=dict)
    _defences: dict[tuple[str, int], keras.Model] = field(default_factory=dict)

    def trained(self, role: str, seed: int) -> Trained:
        """Return the model of that role and seed; an interrupted training resumes."""
        if (role, seed) in self._trained:
            return self._trained[role, seed]
        name = self.study.zoo.get(role)
        if self.from_zoo and seed == 0 and name in zoo.list_models():
            print(f"{role}_seed0: {name} is taken from the zoo.")
            self._trained[role, seed] = from_zoo(name)
        else:
            spec = ROLES[role]
            # The loss ignores this classifier; only the reported accuracy uses it.
            classifiers = (self.trained("classifier", seed),) if role == "autoencoder" else ()
            recipe = self.recipes[spec.training]
            self._trained[role, seed] = train_in_folder(
                self.setting,
                f"{role}_seed{seed}",
                self.study.architectures[spec.part],
                dataclasses.replace(recipe, seed=seed),
                loss=spec.loss,
                alternating_losses=spec.alternating_losses,
                threat=self.threat if recipe.attack_steps else None,
                classifiers=classifiers,
            )
        return self._trained[role, seed]

    def was_trained(self, role: str, seed: int) -> bool:
        """Whether that model was needed, and was not taken from the zoo."""
        return self.was_asked_for(role, seed) and bool(self._trained[role, seed].record)

    def was_asked_for(self, role: str, seed: int) -> bool:
        """Whether that model was needed, and so was trained or read."""
        return (role, seed) in self._trained

    def defence(self, name: str, seed: int) -> keras.Model:
        """Return a defence (images -> logits) by its name in the paper, for example "AE-C"."""
        if (name, seed) not in self._defences:
            before, role = DEFENCES[name]
            model = self.trained(role, seed).model
            if len(model.outputs) == 2:
                model = classifying_half(model)
            if before:
                model = defend(self.trained(before, seed).model, model)
            self._defences[name, seed] = model
        return self._defences[name, seed]
