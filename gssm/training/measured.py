"""Measured soil moisture of whatever kind: one of several readers, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from gssm.errors import RequestError, SamplesError
from gssm.training.insitu import read_ismn
from gssm.training.samples import read_samples
from gssm.training.uscrn import read_uscrn


def read_measured(path: Path, kind: str, kinds: Sequence[str]) -> pd.DataFrame:
    """Read measurements.

    Parameters
    ----------
    path
        File or folder.
    kind
        One of `kinds`, which are some of `READERS`.

    Raises
    ------
    RequestError
        There is no such kind.
    SamplesError
        It cannot be read as one.
    """
    if kind not in kinds:
        raise RequestError(
            f"there is no source {kind!r}; use one of {', '.join(map(repr, kinds))}."
        )
    return READERS[kind](path)


def _read_table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file) if file.suffix.lower() == ".csv" else pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise SamplesError(
            f"{file} cannot be read as a table of measurements ({error}); give Parquet or CSV."
        ) from error


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "samples": read_samples,
    "ismn": read_ismn,
    "uscrn": read_uscrn,
    "table": _read_table,
}
