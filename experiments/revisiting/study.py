"""The Revisiting paper's experiments on each data set, as data: architectures, tables, figures."""

from dataclasses import dataclass, field, replace

from experiments.revisiting.roles import ROLES
from keras_aaa.checks import lookup
from keras_aaa.models import ModelConfig


@dataclass(frozen=True)
class Attack:
    """One row of a table.

    Args:
        name: of keras_aaa.attacks, or "clean" or "autoattack".
        eps: radius on the paper's scale, 0 to 255; None for an l2 attack without a bound.
        costly: whether it is run on fewer examples.
    """

    name: str
    eps: float | None = None
    costly: bool = False

    @property
    def title(self) -> str:
        """The attack's title in tables."""
        return TITLES[self.name] + (f", eps {self.eps:g}" if self.eps is not None else "")


TITLES = {
    "clean": "clean",
    "fgsm": "FGSM",
    "pgd": "PGD-40",
    "carlini_wagner": "CW, confidence 0",
    "deepfool": "DeepFool",
    "autoattack": "AutoAttack",
}
# The paper prints no settings. Our step size of PGD is ThreatModel.default_step_size.
PGD_STEPS = 40
PARAMETERS: dict[str, dict] = {
    "carlini_wagner": {
        "steps": 200,
        "searches": 6,
        "first_constant": 1.0,
        "learning_rate": 0.05,
    },
}


@dataclass(frozen=True)
class AccuracyTable:
    """A table of accuracies: attacks in the rows, defences in the columns.

    Args:
        title: includes the table's number in the paper.
        attacks: attack -> key of the row in paper_tables.json, or "" if the paper has no such row.
        columns: defence -> the defence that attacks are crafted on: itself, or a substitute.
        paper: key of the table in paper_tables.json.
        paper_columns: defence -> key of the column there.
        apart: whether attacks are crafted on the model of the next seed (black-box).
    """

    title: str
    attacks: dict[Attack, str]
    columns: dict[str, str]
    paper: str
    paper_columns: dict[str, str]
    apart: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure of accuracy against eps.

    Args:
        title: includes the figure's number in the paper.
        panels: panel's title -> (attack's name, apart as in AccuracyTable, lines: defence -> the
            defence that attacks are crafted on).
    """

    title: str
    panels: dict[str, tuple[str, bool, dict[str, str]]]


@dataclass(frozen=True)
class RevisitingStudy:
    """One data set of the Revisiting paper.

    Args:
        title: of the data set; titles of tables and figures begin with it.
        architectures: part -> architecture: classifier, substitute, autoencoder, joint.
        tables, figures: by the name that --only takes.
        sweep: eps of the figures without 0, on the scale 0 to 255.
        gradient: columns of Table 4 in paper_tables.json: defence -> key.
        zoo: role -> name of the first seed's model in the zoo.
        sanity: eps of the check for gradient masking, on the scale 0 to 255.
        small: part -> sizes of a small one, which trains in minutes on two cores.
    """

    title: str
    architectures: dict[str, ModelConfig]
    tables: dict[str, AccuracyTable]
    figures: dict[str, Figure]
    sweep: tuple[float, ...]
    gradient: dict[str, str]
    zoo: dict[str, str]
    sanity: float = 20
    small: dict[str, dict] = field(default_factory=dict)

    def reduced(self) -> "RevisitingStudy":
        """Return the study with small networks in place of the large; their zoo names say so."""
        return replace(
            self,
            title=f"{self.title}, small networks" if self.small else self.title,
            architectures={
                part: built.with_sizes(**self.small.get(part, {}))
                for part, built in self.architectures.items()
            },
            zoo={
                role: f"{name}_small" if ROLES[role].part in self.small else name
                for role, name in self.zoo.items()
            },
            small={},
        )


def _tables(dataset: str, small: float, large: float) -> dict[str, AccuracyTable]:
    columns = {"C": f"{dataset}_C", "AE-C": f"{dataset}_AE-C"}
    both = {
        Attack("fgsm", small): "fgsm_small",
        Attack("fgsm", large): "fgsm_large",
        Attack("pgd", small): "pgd_small",
        Attack("pgd", large): "pgd_large",
    }
    white = dict(both)
    white[Attack("fgsm", small)] = "fgsm_small (mnist 20, cifar10 5)"
    white[Attack("fgsm", large)] = "fgsm_large (mnist 80, cifar10 10)"
    return {
        "table1": AccuracyTable(
            "white-box (Revisiting Table 1)",
            {Attack("clean"): "clean"}
            | white
            | {
                Attack("carlini_wagner", costly=True): "cw_c0",
                Attack("deepfool", costly=True): "deepfool",
                Attack("pgd", small, costly=True): "",
                Attack("autoattack", small, costly=True): "",
                Attack("autoattack", large, costly=True): "",
            },
            {"C": "C", "AE-C": "AE-C"},
            "table1_white_box",
            columns,
        ),
        "table2a": AccuracyTable(
            "black-box, another architecture as substitute (Revisiting Table 2 a)",
            both,
            {"C": "S", "AE-C": "AE-S"},
            "table2a_black_box_other_architecture",
            columns,
            apart=True,
        ),
        "table2b": AccuracyTable(
            "black-box, the same architecture trained apart (Revisiting Table 2 b)",
            both,
            {"C": "C", "AE-C": "AE-C"},
            "table2b_black_box_same_architecture",
            columns,
            apart=True,
        ),
    }


def _joint_table(title: str, paper: str, word: str, values: tuple[int, ...]) -> AccuracyTable:
    attacks = {Attack(name, eps): f"{name}_{eps}" for name in ("fgsm", "pgd") for eps in (20, 50)}
    columns = [f"{word} {value}" for value in values]
    return AccuracyTable(
        title,
        {Attack("clean"): ""} | attacks,
        {column: column for column in columns},
        paper,
        {column: column.split()[1] for column in columns},
    )


def _figures() -> dict[str, Figure]:
    panels = {}
    for apart in (False, True):
        for word in ("T", "GCE"):
            for attack in ("fgsm", "pgd"):
                targets = f"C+{word}", f"(AE-C)+{word}"
                # A black-box attacker trains plain models of the same architecture.
                crafted = ("C", "AE-C") if apart else targets
                access = "black-box" if apart else "white-box"
                panels[f"{word}, {TITLES[attack]}, {access}"] = (
                    attack,
                    apart,
                    dict(zip(targets, crafted, strict=True)),
                )
    plain, trained = {"C": "C", "AE-C": "AE-C"}, {"advC": "advC", "AE-advC": "AE-advC"}
    combined = {
        f"{TITLES[attack]}, {'black-box' if apart else 'white-box'}": (
            attack,
            apart,
            plain | (dict(zip(trained, plain, strict=True)) if apart else trained),
        )
        for apart in (False, True)
        for attack in ("fgsm", "pgd")
    }
    return {
        "fig2": Figure("temperature and GCE (Revisiting Figure 2)", panels),
        "fig4": Figure("PGD-trained classifiers (Revisiting Figure 4)", combined),
    }


STUDIES = {
    "mnist": RevisitingStudy(
        title="MNIST",
        architectures={
            "classifier": ModelConfig("lenet5"),
            "substitute": ModelConfig("lenet_like"),
            # The latent has 7 * 7 * 8 values, half as many as an image. The paper's autoencoder is
            # "unable to reconstruct perfectly using dimensionality reduction" (section 3.1.2).
            "autoencoder": ModelConfig("pooled_autoencoder", {"width": 8}),
            "joint": ModelConfig("joint_network", {"width": 8}),
        },
        tables=_tables("mnist", 20, 80)
        | {
            "table3a": _joint_table(
                "lambda regularisation (Revisiting Table 3 a)",
                "table3a_regularization_lambda",
                "lambda",
                (0, 1, 4),
            ),
            "table3b": _joint_table(
                "the alternating method (Revisiting Table 3 b)",
                "table3b_alternative_gamma",
                "gamma",
                (0, 1, 2),
            ),
        },
        figures=_figures(),
        sweep=(5, 10, 20, 30, 40, 60, 80),
        gradient={"C": "mnist_lenet_C", "AE-C": "mnist_lenet_AE-C"},
        zoo={
            "classifier": "mnist_lenet5",
            "autoencoder": "ae_mnist_l2",
            "lambda_1": "mnist_joint",
        },
    ),
    "cifar10": RevisitingStudy(
        title="CIFAR-10",
        architectures={
            "classifier": ModelConfig("vgg16"),
            "substitute": ModelConfig("resnet110"),
            # The latent has 8 * 8 * 64 values, a third more than an image.
            "autoencoder": ModelConfig("pooled_autoencoder", {"width": 64}),
        },
        tables=_tables("cifar10", 5, 10),
        figures=_figures(),
        sweep=(1, 2, 3, 5, 8, 10),
        gradient={"C": "cifar10_vgg_C", "AE-C": "cifar10_vgg_AE-C"},
        zoo={"classifier": "cifar10_vgg16", "autoencoder": "ae_cifar10_l2"},
        sanity=5,
        # A narrow VGG with dropout learns too little in few epochs: 47 % validation accuracy after
        # two epochs, against 66 % without. Three units per stage make a ResNet-20.
        small={"classifier": {"width": 16, "dropout": 0.0}, "substitute": {"units": 3}},
    ),
}


def study_for(dataset: str) -> RevisitingStudy:
    """Return the study of that data set.

    Raises:
        ValueError: for an unknown data set; lists the known ones.
    """
    return lookup("dataset of the Revisiting paper", dataset, STUDIES)
