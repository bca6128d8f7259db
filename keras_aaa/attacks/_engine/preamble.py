"""The part that all attacks begin with: check the arguments and return empty batches at once."""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import tensorflow as tf

from keras_aaa.answers import check_answers
from keras_aaa.checks import int32_seed
from keras_aaa.inputs import check_batch, check_labels, check_targets
from keras_aaa.norms import NORMS
from keras_aaa.threat_model import ThreatModel

Attack = TypeVar("Attack", bound=Callable[..., tf.Tensor])
_NORMS = "norms"  # the attribute of an attack that holds what it is made for


def attack(*norms: str) -> Callable[[Attack], Attack]:
    """Return a decorator that checks the arguments of an attack before the attack runs.

    The decorated function gets float32 images and int64 labels that fit the model, at least one
    example, and a threat model of one of the norms. An empty batch is returned unchanged.

    Args:
        *norms: the norms that the attack is made for; all of them if none is given.
    """

    def decorate(craft: Attack) -> Attack:
        @functools.wraps(craft)
        def checked(model, images, labels, *, threat, **settings):
            images, labels = check_batch(images, labels, model, threat)
            check_norm(craft.__name__, norms_of(checked), threat)
            if not len(labels):
                return images
            classes = check_answers(model, images)
            check_labels(labels, classes)  # a callable has no output shape to check earlier
            if settings.get("targets") is not None:
                settings["targets"] = check_targets(settings["targets"], labels, classes)
            if "seed" in settings:
                settings["seed"] = int32_seed(settings["seed"])
            return craft(model, images, labels, threat=threat, **settings)

        setattr(checked, _NORMS, norms or tuple(NORMS))
        return cast(Attack, checked)

    return decorate


def norms_of(attack: Callable) -> tuple[str, ...]:
    """Return the names of the norms that an attack is made for."""
    return getattr(attack, _NORMS)


def check_norm(name: str, norms: Sequence[str], threat: ThreatModel) -> None:
    """Raise ValueError if the threat model's norm is not one that the attack is made for."""
    if threat.norm not in norms:
        wanted = " or ".join(norms)
        raise ValueError(f"threat: {name} is made for the norm {wanted}, got {threat.norm}.")
