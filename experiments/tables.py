"""Make tables of a result's measurements, with the paper's numbers."""

from collections.abc import Iterator

from keras_aaa.results import Measurement

ATTACK_NAMES = {
    "clean": "clean",
    "pgd": "PGD",
    "fgsm": "FGSM",
    "bpda": "through the neighbours, PGD",
    "square": "Square",
}
ROW_NAMES = {
    "natural": "natural training",
    "adversarial_training": "adversarial training",
    "aaa_ce": "AAA ce",
    "aaa_mse": "AAA mse",
    "aaa_ce_mse": "AAA ce_mse",
    "aaa_ensemble": "AAA ce_mse, ensemble",
    "undefended": "undefended",
    "transfer": "transfer alone",
    "white_box": "white-box training",
    "crafted_float32": "crafted in float32",
    "crafted_bfloat16": "crafted in bfloat16",
}
# Row names that end with a number.
NUMBERED_ROWS = {"queries": "anew, {} queries a gradient", "tuned": "tuned, {} queries a gradient"}
TITLES = {
    "table1_mnist": "MNIST, white-box on the source classifier (AAA Table 1)",
    "table2_mnist_transfer_fc": "MNIST, the FC target classifier (AAA Table 2)",
    "mnist_mixer": "MNIST, an MLP-mixer, of a family no autoencoder was trained with",
    "fashion_mnist_mixer": "Fashion-MNIST, an MLP-mixer",
    "cifar10_mixer": "CIFAR-10, an MLP-mixer",
    "table4_fashion_mnist": "Fashion-MNIST, white-box on the source classifier (AAA Table 4)",
    "table5_fashion_mnist_transfer_fc": "Fashion-MNIST, the FC target classifier (AAA Table 5)",
    "cifar10_resnet": "CIFAR-10, white-box on the source classifier, ResNet (AAA Tables 6 and 8)",
    "cifar10_vgg19": "CIFAR-10, VGG-19 (AAA Tables 7 and 8)",
    "cifar10_vgg19_small": "CIFAR-10, VGG-19 of a quarter of the width (AAA Tables 7 and 8)",
    "cifar10_dnn": "CIFAR-10, DNN (AAA Tables 7 and 8)",
    "table9_knn_mnist": "MNIST with kNN reconstruction (AAA Table 9)",
    "table10_knn_transfer_fc_mnist": "MNIST with kNN reconstruction, FC target (AAA Table 10)",
    "table9_knn_fashion_mnist": "Fashion-MNIST with kNN reconstruction (AAA Table 9)",
    "table10_knn_transfer_fc_fashion_mnist": (
        "Fashion-MNIST with kNN reconstruction, FC target (AAA Table 10)"
    ),
    "black_box_mnist": "MNIST, a classifier that is only queried",
    "black_box_fashion_mnist": "Fashion-MNIST, a classifier that is only queried",
    "black_box_cifar10": "CIFAR-10, a classifier that is only queried",
    "evaluation": "Accuracy under attack",
    "transfer": "Accuracy on images that the row's model crafted",
    "corruptions": "Accuracy on corrupted images, means of five severities",
    "crafting_mnist": "MNIST, what crafting in bfloat16 changes",
    "crafting_fashion_mnist": "Fashion-MNIST, what crafting in bfloat16 changes",
    "crafting_cifar10": "CIFAR-10, what crafting in bfloat16 changes",
}
UNATTACKED = ("corruptions",)  # tables without a radius
DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
PAPER_SEARCH = {"mnist": "about 5 minutes", "fashion_mnist": "about 13 hours"}


def tables(result: dict) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield (title, header, rows of cells) for each table of a result.json.

    A cell reads "measured (paper)" in percent. The title gives n, eps and the longest side of the
    95 % intervals of n examples, in percentage points.
    """
    measurements = result["measurements"]
    for table in dict.fromkeys(m["table"] for m in measurements):
        cells = [m for m in measurements if m["table"] == table]
        column = _column if "defence" in cells[0] else _attack
        attacks = list(dict.fromkeys(column(m) for m in cells))
        examples = cells[0]["examples"]
        body = []
        for row in dict.fromkeys(m["row"] for m in cells):
            by_column = {column(m): m for m in cells if m["row"] == row}
            name = _row_name(row)
            body.append([name, *(_cell(by_column.get(attack), examples) for attack in attacks)])
        counted = [Measurement.from_json(m) for m in cells]
        half = max(m.error_margin() for m in counted if m.examples == examples)
        fewer = [m.error_margin() for m in counted if m.examples != examples]
        components = result.get("components")
        reduced = f", a bank of {components:,} principal components" if components else ""
        ball = "" if table in UNATTACKED else f"eps {result['threat']['eps']:.4g}, "
        title = (
            f"{TITLES[table]}{reduced}; {ball}n = {examples:,}, "
            f"95 % interval at most ±{100 * half:.1f} points"
        )
        if fewer:
            title += f" (±{100 * max(fewer):.1f} where a cell has an n of its own)"
        if any(m["paper"] is not None for m in cells):
            title += "; in brackets the paper's"
        yield title, ["", *attacks], body
    if "searches" in result:
        yield _searches(result)


def schedule_tables(result: dict) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield (title, header, rows of cells) for a result of experiments.schedules."""
    done = [row for row in result["schedules"] if "accuracies" in row]
    steps = [row["accuracies"][-1]["steps"] for row in done][:1]
    header = ["", "steps", "epochs", "minutes", "clean", *(f"PGD-{count}" for count in steps)]
    body = []
    for row in result["schedules"]:
        recipe = row["recipe"]
        late = recipe["late_from"] < 1
        cells = [
            row["attack"] + ", collapsed" * (row not in done),
            f"{recipe['attack_steps']}" + f", then {recipe['late_attack_steps']}" * late,
            f"{recipe['epochs']}",
        ]
        if row in done:
            accuracies = [f"{100 * measured['accuracy']:.1f}" for measured in row["accuracies"]]
            cells += [f"{row['seconds'] / 60:.1f}", *accuracies]
        else:
            cells += ["", "", *("" for _ in steps)]
        body.append(cells)
    title = (
        f"{DATASETS[result['dataset']]}, {result['model']} trained under attacks of the same work; "
        f"eps {result['threat']['eps']:.4g}, n = {result['examples']:,} validation images"
    )
    yield title, header, body


def _searches(result: dict) -> tuple[str, list[str], list[list[str]]]:
    """Return the table of search times and recalls of the neighbours."""
    rows = result["searches"]
    k, queries = rows[0]["k"], rows[0]["queries"]
    title = (
        f"{DATASETS[result['dataset']]}, the {k} nearest of the bank's latents for {queries:,} "
        f"test images; the paper's search took {PAPER_SEARCH[result['dataset']]}"
    )
    header = ["", "bank", "search", "bank built, s", "index built, s", "searched, s", f"recall@{k}"]
    body = [
        [
            row["autoencoder"],
            "{:,} x {:,}".format(*row["latents"]),
            row["search"],
            f"{row['bank_seconds']:.1f}",
            f"{row['index_seconds']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['recall']:.3f}",
        ]
        for row in rows
    ]
    return title, header, body


def _row_name(row: str) -> str:
    name, _, number = row.rpartition("_")
    return NUMBERED_ROWS[name].format(number) if name in NUMBERED_ROWS else ROW_NAMES.get(row, row)


def _column(measurement: dict) -> str:
    """Return the column in an evaluation: a column per defence, a row per attack or corruption."""
    return measurement["defence"]


def _attack(measurement: dict) -> str:
    name = ATTACK_NAMES[measurement["attack"]]
    return f"{name}-{measurement['steps']}" if measurement["steps"] else name


def _cell(measurement: dict | None, examples: int) -> str:
    """Return a cell's text; it gives n only if n differs from the table's."""
    if measurement is None:
        return ""
    paper = measurement["paper"]
    printed = f" ({100 * paper:.2f})" if paper is not None else ""
    fewer = f", n = {n:,}" if (n := measurement["examples"]) != examples else ""
    return f"{100 * measurement['accuracy']:.2f}{printed}{fewer}"


_BENCHMARK_HEADER = ["", "images a second", "lowest to highest batch", "batch", "ours is faster",
          "robust accuracy", "of float32 peak", "of bfloat16 peak"]  # fmt: skip


def benchmark_tables(result: dict) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield (title, header, rows of cells) for each workload of a benchmark's result.json.

    "ours is faster": speed of our faster precision over the contender's speed. "robust": the
    accuracy under the contender's attack, in percent; lower means a stronger attack.
    """
    rows = result["benchmark"]
    for title in dict.fromkeys(row["title"] for row in rows):
        of_workload = [row for row in rows if row["title"] == title]
        ours = max(
            (r["median"] for r in of_workload if r["contender"].startswith("ours")), default=None
        )
        body = [_benchmark_cells(row, ours) for row in of_workload]
        yield f"{title} (images a second, median over batches)", _BENCHMARK_HEADER, body


def _benchmark_cells(row: dict, ours: float | None) -> list[str]:
    robust = row["robust"]
    return [
        row["contender"],
        f"{row['median']:.0f}",
        f"{row['low']:.0f} to {row['high']:.0f}",
        str(row["batch_size"]),
        f"{ours / row['median']:.1f} x" if ours else "",
        f"{100 * robust['accuracy']:.1f} % of {robust['examples']:,}" if robust else "",
        f"{100 * row['of_peak']['float32']:.0f} %",
        f"{100 * row['of_peak']['bfloat16']:.0f} %",
    ]
