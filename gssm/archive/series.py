"""Series of places of an archive as tables, and as files of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gssm.archive.points import point_series
from gssm.archive.polygons import polygon_series
from gssm.archive.whole import local_path, whole
from gssm.errors import RequestError

__all__ = ["point_series", "polygon_series", "write_series"]

Writer = Callable[[pd.DataFrame, Path], None]


def write_series(table: pd.DataFrame, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a series to a file, whole or not at all.

    Parameters
    ----------
    table
        What `point_series` or `polygon_series` returned.
    path
        Ending in ``.parquet`` or ``.csv``, whose times are ISO 8601 (UTC, with a Z).
    overwrite
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    RequestError
        The path has another ending, or is on another machine.
    StoreExistsError, StoreWriteError
        The file is there, or cannot be written; nothing is left behind.
    """
    write = WRITERS.get(Path(path).suffix.lower())
    if write is None:
        raise RequestError(f"{path} ends in no format of tables; give {' or '.join(WRITERS)}.")
    target = local_path(path)
    with whole(target, overwrite) as partial:
        write(table, partial)
    return target


def _to_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path)


def _to_csv(table: pd.DataFrame, path: Path) -> None:
    # Nine digits hold a float32 as it is; the values have four.
    table.to_csv(path, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.6g")


WRITERS: dict[str, Writer] = {".parquet": _to_parquet, ".csv": _to_csv}
