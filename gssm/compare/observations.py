"""What was measured: the rows of a station table, checked, as every comparison reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import SamplesError
from gssm.training.fitting import station_keys
from gssm.training.stations import check_stations
from gssm.training.uscrn import GOOD

OBSERVED = "observed"
# Columns of the pairs that are no product.
PLACE = ("network", "station", "latitude", "longitude", "time")
RESERVED = (*PLACE, OBSERVED, "predicted", "uncertainty", "offset_hours")


def observations(stations: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements of a table, a row per row of it, numbered from 0.

    Parameters
    ----------
    stations
        As from `gssm.read_ismn`, `gssm.read_uscrn`, `gssm.read_samples` or
        `gssm.cross_validate` (whose measured column is ``observed``).

    Returns
    -------
    pandas.DataFrame
        ``network`` (where known), ``station`` (network/station), ``latitude``,
        ``longitude`` (degrees), ``time`` (UTC), ``observed`` (m3 m-3) and ``good``:
        False where the measurement has a flag other than ISMN's ``G``; ``again``: True where
        an earlier row has the same good measurement.

    Raises
    ------
    SamplesError
        The table lacks columns or values, or holds impossible ones, or two different ones of
        one station and time.
    """
    if isinstance(stations, pd.DataFrame) and OBSERVED in stations:
        predicted = stations.drop(columns="soil_moisture", errors="ignore")
        table = check_stations(predicted.rename(columns={OBSERVED: "soil_moisture"}))
        keys = _with_network(table)
    else:
        table = check_stations(stations)
        keys = station_keys(table)
    flag = table["flag"] if "flag" in table else pd.Series(GOOD, index=table.index)
    network = {"network": table["network"].astype(str)} if "network" in table else {}
    found = pd.DataFrame(
        {
            **network,
            "station": keys,
            "latitude": table["latitude"],
            "longitude": table["longitude"],
            "time": table["time"],
            OBSERVED: table["soil_moisture"],
            "good": (flag.isna() | (flag.astype(str) == GOOD)).to_numpy(),
        }
    )
    if not found["good"].any():
        raise SamplesError(
            f"no measurement of the stations table has the flag {GOOD!r}; give good ones, or drop "
            "the column 'flag'."
        )
    return found.assign(again=_again(found))


def _with_network(table: pd.DataFrame) -> pd.Series[Any]:
    """Names of stations, with their networks where `gssm.cross_validate` has not put them yet."""
    names = table["station"].astype(str)
    if "network" not in table:
        return names
    pairs = zip(table["network"].astype(str), names, strict=True)
    told = [n if n.startswith(f"{network}/") else f"{network}/{n}" for network, n in pairs]
    return pd.Series(told, table.index, dtype=object)


def _again(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether an earlier row has the same measurement; two that differ are refused."""
    good = rows[rows["good"]]
    again = good.duplicated(["station", "time", OBSERVED])
    once = good[~again]
    twice = once[once.duplicated(["station", "time"])]
    if len(twice):
        station, time = twice[["station", "time"]].iloc[0]
        values = once.loc[(once["station"] == station) & (once["time"] == time), OBSERVED]
        raise SamplesError(
            f"station {station} has {' and '.join(f'{v:g}' for v in values)} at "
            f"{time:%Y-%m-%d %H:%M}; keep one value per station and time (one depth, one sensor)."
        )
    return np.asarray(again.reindex(rows.index, fill_value=False), np.bool_)


def places(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per station: its median longitude and latitude, and its network.

    Raises
    ------
    SamplesError
        A station is at places more than a kilometre apart.
    """
    groups = rows.groupby("station")
    degrees = groups[["longitude", "latitude"]]
    spread = degrees.max() - degrees.min()
    # 0.01 degree of latitude is 1.1 km; of longitude never more.
    apart = (spread > 0.01).any(axis=1)
    if apart.any():
        raise SamplesError(
            f"station {apart.idxmax()} is at places more than a kilometre apart; give each place a "
            "name of its own."
        )
    found: pd.DataFrame = degrees.median()
    if "network" in rows:
        found.insert(0, "network", groups["network"].first())
    return found


def daily_means(series: pd.DataFrame, value: str) -> pd.DataFrame:
    """Mean of each UTC day of each station, at noon of that day.

    Parameters
    ----------
    series
        ``station``, ``time`` and a column of values, without NaN.
    value
        Name of that column.
    """
    day = series["time"].dt.floor("D").rename("time")
    means = series.groupby(["station", day])[value].mean().reset_index()
    return means.assign(time=means["time"] + pd.Timedelta(hours=12))


def nearest_in_time(
    rows: pd.DataFrame, series: pd.DataFrame, value: str, window: pd.Timedelta
) -> pd.DataFrame:
    """Value and time of each station's nearest entry of a series.

    Parameters
    ----------
    rows
        ``station`` and ``time``.
    series
        ``station``, ``time`` and a column of values, without NaN; several at one time
        count as their mean.
    value
        Name of that column.
    window
        Largest time between a row and its entry, both ends included; of two as near, the
        earlier.

    Returns
    -------
    pandas.DataFrame
        In the order of the rows: ``value`` (NaN where there is none), ``at``, the time of the
        entry, and ``offset_hours`` (entry minus row).
    """
    once = series.groupby(["station", "time"])[value].mean().reset_index()
    right = _in_order(once).rename(columns={value: "value"})
    left = _in_order(rows[["station", "time"]].assign(row=np.arange(len(rows))))
    right["at"] = right["time"]
    found: Any = pd.merge_asof(
        left, right, on="time", by="station", direction="nearest", tolerance=window
    )
    found["offset_hours"] = (found["at"] - found["time"]).dt.total_seconds() / 3600
    ordered: pd.DataFrame = found.sort_values("row", ignore_index=True)
    return ordered[["value", "at", "offset_hours"]]


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    typed = table.assign(
        station=table["station"].astype(object), time=table["time"].astype("datetime64[ns]")
    )
    return typed.sort_values("time", kind="stable", ignore_index=True)
