"""Make the tables of a benchmark's result."""

from collections.abc import Iterator

HEADER = ["", "images a second", "lowest to highest batch", "batch", "ours is faster",
          "left standing", "of float32 peak", "of bfloat16 peak"]  # fmt: skip


def tables(result: dict) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield (title, header, rows of cells) for each job of a benchmark's result.json.

    "ours is faster": speed of our faster precision over the contender's speed. "left standing": the
    robust accuracy under the contender's attack, in percent; lower means a stronger attack.
    """
    rows = result["benchmark"]
    for title in dict.fromkeys(row["title"] for row in rows):
        of_job = [row for row in rows if row["title"] == title]
        ours = max((r["median"] for r in of_job if r["contender"].startswith("ours")), default=None)
        body = [_cells(row, ours) for row in of_job]
        yield f"{title} (images a second, median over batches)", HEADER, body


def _cells(row: dict, ours: float | None) -> list[str]:
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
