"""What the AAA paper does on each data set, as data: which models, which attacks, which tables."""

from dataclasses import dataclass, field

from keras_aaa.names import lookup


@dataclass(frozen=True)
class Architecture:
    """A builder's name and its sizes, as zoo cards store them."""

    name: str
    sizes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One data set of the AAA paper."""

    source: str  # zoo name of the classifier the autoencoder is trained with
    targets: tuple[str, ...]  # zoo names of classifiers it never saw
    classifiers: dict[str, Architecture]  # zoo name -> architecture
    autoencoder: Architecture
    test_steps: tuple[int, ...]  # of the PGD test attack, each reported
    test_step_size: float  # image units
    tables: dict[str, str]  # zoo name of a classifier -> its table's key in paper_tables.json


STUDIES = {
    "mnist": Study(
        source="mnist_madry",
        targets=("mnist_fc",),
        classifiers={
            "mnist_madry": Architecture("madry"),
            "mnist_fc": Architecture("fc", {"hidden": (256, 256)}),
        },
        autoencoder=Architecture("conv_dense_autoencoder", {"latent": 1024}),
        test_steps=(40, 200),
        test_step_size=0.01,
        tables={"mnist_madry": "table1_mnist", "mnist_fc": "table2_mnist_transfer_fc"},
    ),
}


def study_for(dataset: str) -> Study:
    """Return the study of that data set.

    Raises:
        ValueError: lists the data sets there are.
    """
    return lookup("dataset", dataset, STUDIES)
