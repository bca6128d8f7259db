"""The input of a contender: a defence of the zoo, its threat model, test examples."""

from dataclasses import dataclass

import keras
import numpy as np

import zoo
from experiments.benchmark.jobs import Job
from keras_aaa import data, defend
from keras_aaa.threat_model import ThreatModel, threat_for


@dataclass(frozen=True)
class Subject:
    """The defence and its parts, and the examples to run it on."""

    autoencoder: keras.Model
    classifier: keras.Model
    defence: keras.Model
    threat: ThreatModel
    images: np.ndarray  # float32 [n, h, w, c] in [0, 1]
    labels: np.ndarray  # int64 [n]


def load_subject(job: Job, data_dir: str | None) -> Subject:
    """Load the job's defence and the first `job.examples` test examples."""
    card = zoo.info(job.autoencoder)
    if card.classifier is None:
        raise ValueError(f"{job.autoencoder}: expected an autoencoder, got a {card.kind}.")
    # Trainable: a training step is one of the jobs.
    autoencoder = zoo.load(job.autoencoder, trainable=True)
    classifier = zoo.load(card.classifier.name)
    images, labels = data.first(data.load(card.dataset, "test", data_dir), job.examples)
    return Subject(
        autoencoder,
        classifier,
        defend(autoencoder, classifier),
        threat_for(card.dataset),
        images.numpy(),
        labels.numpy(),
    )
