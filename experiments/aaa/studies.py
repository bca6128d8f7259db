"""The AAA paper's experiments on each data set, as data: models, attacks and tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from experiments.paper import Cells
from keras_aaa.checks import lookup
from keras_aaa.models import ModelConfig


@dataclass(frozen=True)
class PaperTable:
    """A classifier's table: the key of our table, and the paper's cells to compare with."""

    key: str
    cells: tuple[Cells, ...]


@dataclass(frozen=True)
class AaaStudy:
    """One data set of the AAA paper."""

    source: str  # zoo name of the classifier the autoencoder is trained with
    classifiers: dict[str, ModelConfig]  # zoo name -> architecture; the source and the targets
    unseen: dict[str, ModelConfig]  # targets of another family, not in the paper
    baselines: tuple[str, ...]  # classifiers that the paper also trains adversarially
    autoencoder: ModelConfig
    test_steps: tuple[int, ...]  # of the PGD test attack, each reported
    test_step_size: float  # image units
    tables: dict[str, PaperTable]  # by the zoo name of the classifier that is measured
    # classifier -> sizes of a small one, which trains in hours on two cores and fits the zoo
    small: dict[str, dict] = field(default_factory=dict)

    def reduced(self) -> "AaaStudy":
        """Return the study with small classifiers in place of the large; their names say so."""
        names = {name: f"{name}_small" if name in self.small else name for name in self.tables}
        return replace(
            self,
            classifiers={
                names[name]: built.with_sizes(**self.small.get(name, {}))
                for name, built in self.classifiers.items()
            },
            baselines=tuple(names[name] for name in self.baselines),
            tables={
                names[name]: table if name not in self.small else replace(table, key=names[name])
                for name, table in self.tables.items()
            },
            small={},
        )

    def only(self, names: Sequence[str]) -> "AaaStudy":
        """Return the study that measures only these classifiers; the source always remains.

        Raises:
            ValueError: for an unknown classifier; lists the known ones.
        """
        for name in names:
            lookup("classifier", name, self.classifiers | self.unseen)
        chosen = {
            name: architecture
            for name, architecture in (self.classifiers | self.unseen).items()
            if name == self.source or name in names
        }
        return replace(
            self,
            classifiers=chosen,
            baselines=tuple(name for name in self.baselines if name in names),
            tables={name: table for name, table in self.tables.items() if name in names},
        )

    def seen(self) -> list[str]:
        """Return the classifiers that autoencoders may be trained with."""
        return [name for name in self.classifiers if name not in self.unseen]


def _table(key: str) -> PaperTable:
    return PaperTable(key, (Cells(key),))


STUDIES = {
    "mnist": AaaStudy(
        source="mnist_madry",
        classifiers={
            "mnist_madry": ModelConfig("madry"),
            "mnist_fc": ModelConfig("fc", {"hidden": (256, 256)}),
        },
        unseen={"mnist_mixer": ModelConfig("mixer")},
        baselines=("mnist_madry",),
        autoencoder=ModelConfig("conv_dense_autoencoder", {"latent": 1024}),
        test_steps=(40, 200),
        test_step_size=0.01,
        tables={
            "mnist_madry": _table("table1_mnist"),
            "mnist_fc": _table("table2_mnist_transfer_fc"),
            "mnist_mixer": PaperTable("mnist_mixer", ()),
        },
    ),
    "fashion_mnist": AaaStudy(
        source="fashion_mnist_cnn",
        classifiers={
            "fashion_mnist_cnn": ModelConfig("cnn"),
            "fashion_mnist_fc": ModelConfig("fc", {"hidden": (1024, 512, 256)}),
        },
        unseen={"fashion_mnist_mixer": ModelConfig("mixer")},
        baselines=("fashion_mnist_cnn",),
        autoencoder=ModelConfig("conv_autoencoder"),
        test_steps=(40, 200),
        test_step_size=0.01,
        tables={
            "fashion_mnist_cnn": _table("table4_fashion_mnist"),
            "fashion_mnist_fc": _table("table5_fashion_mnist_transfer_fc"),
            "fashion_mnist_mixer": PaperTable("fashion_mnist_mixer", ()),
        },
    ),
    "cifar10": AaaStudy(
        source="cifar10_resnet",
        classifiers={
            "cifar10_resnet": ModelConfig("resnet"),
            "cifar10_vgg19": ModelConfig("vgg19"),
            "cifar10_dnn": ModelConfig("dnn"),
        },
        unseen={"cifar10_mixer": ModelConfig("mixer")},
        baselines=("cifar10_resnet", "cifar10_vgg19", "cifar10_dnn"),
        autoencoder=ModelConfig("unet"),
        test_steps=(10,),
        test_step_size=2 / 255,
        tables={
            "cifar10_resnet": PaperTable(
                "cifar10_resnet",
                (Cells("table6_cifar10_resnet"), Cells("table8_cifar10_ensemble", row="resnet_")),
            ),
            "cifar10_vgg19": PaperTable(
                "cifar10_vgg19",
                (
                    Cells("table7_cifar10_transfer", column="vgg_"),
                    Cells("table8_cifar10_ensemble", row="vgg_"),
                ),
            ),
            "cifar10_dnn": PaperTable(
                "cifar10_dnn",
                (
                    Cells("table7_cifar10_transfer", column="dnn_"),
                    Cells("table8_cifar10_ensemble", row="dnn_"),
                ),
            ),
            "cifar10_mixer": PaperTable("cifar10_mixer", ()),
        },
        # A narrow VGG with dropout learns almost nothing in few epochs.
        small={"cifar10_vgg19": {"width": 16, "dropout": 0.0}},
    ),
}


def study_for(dataset: str) -> AaaStudy:
    """Return the study of that data set.

    Raises:
        ValueError: for an unknown data set; lists the known ones.
    """
    return lookup("dataset", dataset, STUDIES)
