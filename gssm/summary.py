"""A product in a few numbers per acquisition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gssm import metrics, quality


def summarize(product: xr.Dataset, truth: xr.DataArray | None = None) -> pd.DataFrame:
    """Describe a product per acquisition: how much of it has a value, and why the rest has none.

    Parameters
    ----------
    product
        ``soil_moisture`` and ``quality_flag`` with dimensions ``(time, y, x)``.
    truth
        Known soil moisture on the same grid; adds r, bias and ubRMSE against it.

    Returns
    -------
    pandas.DataFrame
        Indexed by time. ``valued`` is a share of all pixels; every flag of
        `gssm.quality.FLAGS` that occurs is a column with its share, if they still are
        whole numbers.
    """
    rows = []
    for time in product["time"].values:
        step = product.sel(time=time)
        values, flags = step["soil_moisture"].values, step["quality_flag"].values
        finite = np.isfinite(values)
        row = {
            "time": pd.Timestamp(time),
            "pixels": int(finite.sum()),
            "valued": float(finite.mean()),
            "mean": float(values[finite].mean()) if finite.any() else np.nan,
            "sd": float(values[finite].std()) if finite.any() else np.nan,
        }
        if flags.dtype.kind in "iu":
            row |= {f.meaning: float((flags & f.mask != 0).mean()) for f in quality.FLAGS}
        if truth is not None:
            known = truth.sel(time=time).values
            for name in ("r", "bias", "ubrmse"):
                row[name] = metrics.METRICS[name](known, values)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("time")
    told = [f.meaning for f in quality.FLAGS if f.meaning in table]
    never = [meaning for meaning in told if not table[meaning].any()]
    return table.drop(columns=never)
