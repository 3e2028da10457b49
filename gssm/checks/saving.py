"""A report of physical checks as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gssm.archive.whole import local_path, whole

if TYPE_CHECKING:
    from gssm.checks.report import Report

# By this file a folder is known as one that `save` wrote.
MARKER = "check.txt"
DOTS_PER_INCH = 120


def save(report: Report, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write a report to a new folder, all of it or nothing.

    Returns
    -------
    list of pathlib.Path
        ``check.txt`` (what ``print`` shows), ``means.csv``, ``rain.csv``, ``months.csv``,
        ``orbits.csv``, ``seams.csv``, ``texture.csv`` and ``series.png``.

    Raises
    ------
    StoreExistsError
        The folder is there already, or holds something else.
    StoreWriteError
        It cannot be written; nothing is left behind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    place = local_path(folder)
    with whole(place, overwrite, (MARKER,)) as partial:
        partial.mkdir()
        (partial / MARKER).write_text(f"{report}\n", encoding="utf-8")
        for name in ("means", "rain", "months", "orbits", "seams", "texture"):
            getattr(report, name).to_csv(partial / f"{name}.csv")
        figure = report.series()
        FigureCanvasAgg(figure)
        figure.savefig(partial / "series.png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return sorted(place.iterdir())
