"""The paper's Table 3: clean and adversarial images, and their reconstructions by each loss."""

from collections.abc import Mapping
from pathlib import Path

import keras

from keras_aaa.attacks import pgd
from keras_aaa.evaluation import PgdTest
from keras_aaa.figures import image_grid
from keras_aaa.models import defend
from keras_aaa.threat_model import ThreatModel

EXAMPLES = 8


def draw_reconstructions(
    autoencoders: Mapping[str, keras.Model],
    source: keras.Model,
    images,
    labels,
    *,
    threat: ThreatModel,
    test: PgdTest,
    path: Path,
) -> None:
    """Draw a row per example, with the adversarial image and its reconstruction for each loss.

    Each adversarial image is crafted end-to-end against that loss's own defence.
    Paper: AAA Table 3.

    Args:
        autoencoders: loss -> autoencoder.
        source: the source classifier behind them.
        images, labels: test examples; the first EXAMPLES are drawn.
        threat, test: the attack, with the first number of steps of `test`.
        path: the PNG to write.
    """
    x, y = images[:EXAMPLES], labels[:EXAMPLES]
    columns = {"clean x": x}
    for loss, autoencoder in autoencoders.items():
        x_adv = pgd(
            defend(autoencoder, source),
            x,
            y,
            threat=threat,
            steps=test.steps[0],
            step_size=test.step_size,
            seed=test.seed,
        )
        columns[f"x' for {loss}"] = x_adv
        columns[f"A(x'), {loss}"] = autoencoder(x_adv, training=False)
    image_grid({title: column.numpy() for title, column in columns.items()}, path)
