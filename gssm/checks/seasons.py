"""Whether the map is wet in wet months and dry in dry ones."""

from __future__ import annotations

import pandas as pd


def by_month(means: pd.DataFrame, index: pd.Series[float] | None) -> pd.DataFrame:
    """Return the mean of every calendar month that has a date.

    Returns
    -------
    pandas.DataFrame
        By month (its first day): ``N`` dates, ``soil_moisture`` (m3 m-3), and ``api`` (mm), the
        mean of all days of the month; NaN without rain, or where a day has no index.
    """
    months = pd.DatetimeIndex(means.index).to_period("M")
    valued = means["soil_moisture"].groupby(months)
    table = pd.DataFrame({"N": valued.count(), "soil_moisture": valued.mean()})
    table["api"] = float("nan")
    if index is not None:
        days = pd.DatetimeIndex(index.index).to_period("M")
        by_days = index.groupby(days)
        table["api"] = by_days.mean().where(by_days.count() == by_days.size()).reindex(table.index)
    table = table[table["N"] > 0]
    return table.set_axis(pd.PeriodIndex(table.index).to_timestamp(), axis=0).rename_axis("month")
