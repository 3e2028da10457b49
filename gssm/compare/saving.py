"""A comparison as files: tables as CSV, figures as PNG; all of them or none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gssm.archive.whole import local_path, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gssm.compare.report import Comparison

# By this file a folder is known as one that `save` wrote.
MARKER = "comparison.txt"
DOTS_PER_INCH = 120
METRIC = "r"


def save(comparison: Comparison, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write a comparison to a new folder.

    Pairs of measured values are not among the files: the terms of most networks forbid to
    pass them on. ``comparison.pairs.to_parquet(path)`` writes them for yourself.

    Parameters
    ----------
    comparison
        As from `gssm.compare`.
    folder
        To be made; with ``overwrite`` one that this function wrote is replaced.

    Returns
    -------
    list of pathlib.Path
        ``comparison.txt`` (what ``print`` shows), ``table.csv``, ``differences.csv``,
        ``stations.csv``, ``dropped.csv``, ``scatter.png``, and ``map.png`` where a station
        has rows enough.

    Raises
    ------
    StoreExistsError
        The folder is there already, or holds something else.
    StoreWriteError
        It cannot be written; nothing is left behind.
    """
    place = local_path(folder)
    with whole(place, overwrite, (MARKER,)) as partial:
        partial.mkdir()
        _write(comparison, partial)
    return sorted(place.iterdir())


def _write(comparison: Comparison, folder: Path) -> None:
    (folder / MARKER).write_text(f"{comparison}\n", encoding="utf-8")
    comparison.table.rename_axis("product").to_csv(folder / "table.csv")
    comparison.differences.rename_axis("other").to_csv(folder / "differences.csv")
    stations = {name: comparison.stations(name) for name in comparison.products}
    table = pd.concat(stations, names=["product"])
    table.to_csv(folder / "stations.csv")
    dropped = pd.Series(comparison.dropped, name="count", dtype="int64").rename_axis("reason")
    dropped.to_csv(folder / "dropped.csv")
    _draw(comparison.scatter(), folder / "scatter.png")
    if has_map(comparison):
        _draw(comparison.map(METRIC), folder / "map.png")


def has_map(comparison: Comparison, metric: str = METRIC) -> bool:
    """Whether every product has a station with rows enough for the metric."""
    from gssm.training.evaluate import MIN_STATION_ROWS

    tables = (comparison.stations(name) for name in comparison.products)
    return all(
        bool(table.loc[table["N"] >= MIN_STATION_ROWS, metric].notna().any()) for table in tables
    )


def _draw(figure: Figure, file: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=DOTS_PER_INCH, metadata={"Software": None})
