"""Rows at which a map would have no value: they neither teach nor are scored."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

from gssm.errors import GssmWarning, SamplesError
from gssm.models.table import samples_to_dataset
from gssm.physics import WaterCloud
from gssm.quality import FLAGS, quality_flag
from gssm.schema import BACKSCATTER


def leave_out_blank(
    samples: pd.DataFrame, water_cloud: WaterCloud | None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep the rows that `gssm.Model.predict` gives a value.

    Returns
    -------
    tuple
        The rows kept, and how many of those left out had no radar or which flag; a row may
        have several.

    Raises
    ------
    SamplesError
        No row is left.

    Warns
    -----
    GssmWarning
        Rows were left out.
    """
    flags = quality_flag(samples_to_dataset(samples), water_cloud).to_numpy()
    radar = np.isfinite(samples[list(BACKSCATTER)].to_numpy(np.float64)).all(axis=1)
    reasons = {"no radar": ~radar}
    reasons |= {flag.meaning: flags & flag.mask != 0 for flag in FLAGS if not flag.keeps_value}
    blank = np.any(list(reasons.values()), axis=0)
    why = {reason: int(where.sum()) for reason, where in reasons.items() if where.any()}
    if not blank.any():
        return samples, why
    _tell(int(blank.sum()), len(samples), why)
    return samples[~blank], why


def _tell(blank: int, rows: int, why: Mapping[str, int]) -> None:
    reasons = ", ".join(f"{reason}: {count}" for reason, count in why.items())
    if blank == rows:
        raise SamplesError(
            f"a map would have no value at any of the {rows} rows ({reasons}), so there is nothing "
            "to learn or to score; give rows of bare or vegetated ground with radar."
        )
    warnings.warn(
        f"{blank} of the {rows} rows are left out, as a map would have no value there ({reasons}).",
        GssmWarning,
        stacklevel=4,
    )
