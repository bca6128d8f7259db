"""Figures of runs: training curves, image grids, line charts and bar charts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def training_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Plot validation loss and accuracies against the epoch to a PNG, one colour per model.

    Args:
        histories: model name -> one dict of metrics per validated epoch, as in Progress.history.
        path: the PNG to write.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for number, (name, history) in enumerate(histories.items()):
        # Some runs are not validated in every epoch; their rows include the epoch.
        epochs = [row.get("epoch", index) for index, row in enumerate(history, 1)]
        colour = f"C{number % 10}"
        left.plot(epochs, [row["val_loss"] for row in history], "o-", color=colour, label=name)
        for key, style in (("val_accuracy", "--"), ("val_robust_accuracy", "o-")):
            if key in history[0]:
                right.plot(epochs, [row[key] for row in history], style, color=colour)
    left.set(xlabel="epoch", ylabel="validation loss", yscale="log")
    right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    left.set_title("on adversarial validation images", fontsize=10)
    right.set_title("dashed: clean; solid: under PGD", fontsize=10)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    if histories:
        figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    _save(figure, path)


def image_grid(columns: Mapping[str, np.ndarray], path: Path, notes: Sequence[str] = ()) -> None:
    """Draw images in a grid to a PNG, with one titled column per entry.

    Args:
        columns: title -> float images [n, h, w, c] in [0, 1]; the same n in each.
        path: the PNG to write.
        notes: a text beside each row; empty for no texts.
    """
    rows = len(next(iter(columns.values())))
    size = (1.25 * len(columns) + bool(notes), 1.1 * rows + 0.5)
    figure, axes = plt.subplots(rows, len(columns), figsize=size, squeeze=False)
    for column, (title, images) in enumerate(columns.items()):
        axes[0][column].set_title(title, fontsize=8)
        for row, image in enumerate(np.asarray(images)):
            grey = image.shape[-1] == 1
            axes[row][column].imshow(image, cmap="gray" if grey else None, vmin=0, vmax=1)
            axes[row][column].axis("off")
    for row, note in enumerate(notes):
        last = axes[row][-1]
        last.text(1.1, 0.5, note, transform=last.transAxes, va="center", fontsize=8)
    figure.tight_layout(pad=0.4)
    _save(figure, path)


def eps_curve(eps: Sequence[float], accuracy: Sequence[float], path: Path) -> None:
    """Plot robust accuracy (fractions) against eps (image units) to a PNG."""
    line_chart({"": {"accuracy": (eps, accuracy)}}, "eps", "accuracy under PGD", path)


def line_chart(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabel: str,
    ylabel: str,
    path: Path,
    *,
    log: bool = False,
) -> None:
    """Plot one panel of lines per title to a PNG, up to four panels in a row.

    Args:
        panels: title -> name of a line -> (x, y), where y holds fractions. The same name has the
            same colour in each panel.
        xlabel, ylabel: axis labels of all panels.
        path: the PNG to write.
        log: whether x is logarithmic.
    """
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns + 1, 3 * rows), squeeze=False, layout="constrained"
    )
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    drawn = {}
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        for name, (x, y) in lines.items():
            (drawn[name],) = axis.plot(x, y, "o-", color=f"C{names.index(name) % 10}", ms=4)
        axis.set(title=title, ylim=(0, 1), xscale="log" if log else "linear")
        if log:  # mark the points themselves; powers of ten are too sparse
            axis.set_xticks(sorted({at for x, _ in lines.values() for at in x}))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    figure.supxlabel(xlabel)
    figure.supylabel(ylabel)
    if len(drawn) > 1:
        # The legend is above, because below it would cover the common axis label.
        figure.legend(
            drawn.values(),
            drawn.keys(),
            loc="outside upper center",
            ncols=min(4, 2 * columns),
            fontsize=9,
        )
    _save(figure, path)


def bar_chart(
    panels: Mapping[str, Mapping[str, tuple[float, float, float]]], label: str, path: Path
) -> None:
    """Plot one panel of horizontal bars per title to a PNG.

    Args:
        panels: title -> name of a bar -> (length, low end and high end of the whisker).
        label: label of the horizontal axis.
        path: the PNG to write.
    """
    height = 0.8 * len(panels) + 0.3 * sum(map(len, panels.values()))
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(7, height),
        squeeze=False,
        layout="constrained",
        height_ratios=[len(bars) + 1 for bars in panels.values()],
    )
    for axis, (title, bars) in zip(axes[:, 0], panels.items(), strict=True):
        lengths = np.array([bar[0] for bar in bars.values()])
        ends = np.array([bar[1:] for bar in bars.values()]).T
        whiskers = np.abs(ends - lengths)
        axis.barh(list(bars), lengths, xerr=whiskers, color="C0", ecolor="0.3", capsize=2)
        axis.invert_yaxis()
        axis.set_title(title, fontsize=10, loc="left")
    axes[-1, 0].set_xlabel(label)
    _save(figure, path)


def _save(figure, path: Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
