"""In-situ table x imagery -> samples, station by station, by the stages that make a map."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm.catalogs import CATALOGS, resolve_catalog
from gssm.errors import EmptySearchError, GssmError, GssmWarning, RequestError, SamplesError
from gssm.request import check_datetime, check_percent, check_window
from gssm.training import station_parts as parts
from gssm.training.fitting import station_keys
from gssm.training.samples import SENTINEL1_LAUNCH
from gssm.training.station_windows import Outcome, Request, Station, sample_stations

REQUIRED = ("station", "longitude", "latitude", "time", "soil_moisture")
OPTIONAL = ("network", "flag")
NUMBERS = ("longitude", "latitude", "soil_moisture")
# Metres: farther apart is another place, with other pixels.
SAME_PLACE = 100.0
METRES_PER_DEGREE = 111_320.0
LONGEST_HOURS = 240.0
END_OF_TIME = pd.Timestamp("2200-01-01")


def build_samples(
    stations: pd.DataFrame,
    catalog: str | Path = "planetary-computer",
    *,
    out: str | Path | None = None,
    window: str = "3D",
    max_hours: float = 12.0,
    max_cloud_cover: float = 60,
    datetime: Any = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Join in-situ soil moisture with the imagery at its stations: samples to train on.

    The imagery goes through the stages that make a map (`gssm.search`, `gssm.open_cube` on
    a small window of the same grid, quality flags, terrain), and a sample is the station's
    own pixel, so that training and serving cannot differ. Where a file has another
    projection, GDAL warps to a thousandth of a pixel, and the two agree to that.

    Stations are sampled in parallel on Dask: on the cluster whose client is active, else on
    the threads of this machine, or as ``dask.config`` says. One that fails is left out with
    a warning and does not stop the others.

    Parameters
    ----------
    stations
        As from `gssm.read_ismn` or `gssm.read_uscrn`, a row per measurement: station,
        longitude and latitude (degrees), time (UTC), soil_moisture (m3 m-3); a network
        tells stations of one name apart, a flag is kept, other columns are not read.
    catalog
        As in `gssm.search`: a name, the URL of a STAC API, or a folder of ItemCollections
        (which every worker of a cluster sees).
    out
        Parquet file to write. Finished stations are kept in the folder ``<out>.parts`` until
        all are: the same call goes on from there. A change of a station's rows, of the
        catalogue's items or of an option starts that station anew; failed ones are tried
        again. A finished file is returned as it is.
    window
        Largest time between radar and optical image, as in `gssm.open_cube`.
    max_hours
        A radar acquisition is joined with the nearest measurement, at most this far in
        time. Times are taken as they stand: a daily mean stamped 00:00 serves the evening
        before too, so stamp it with the middle of its day.
    max_cloud_cover
        Percent, as in `gssm.search`.
    datetime
        Limits the radar acquisitions, as in `gssm.search`; by default all that have a
        measurement.
    progress
        Called with a line of text after each station.

    Returns
    -------
    pandas.DataFrame
        A row per station and Sentinel-1 acquisition, as `gssm.read_samples` gives it:
        network, station, latitude and longitude (the station's), time (the acquisition,
        UTC), measured_time, measurement_offset_hours (measurement minus acquisition),
        soil_moisture, flag, every variable of the cube at the pixel, slope and aspect
        (degrees), quality_flag, relative_orbit, orbit_state, platform.
        ``attrs["dropped"]`` counts the acquisitions and stations that have no row, by
        reason; `dropped_report` lists them, and beside ``out`` they are saved as
        ``<stem>.dropped.csv``.

    Raises
    ------
    SamplesError
        The table lacks columns or values, or contradicts itself.
    RequestError, UnknownCatalogError
        An option cannot be served, or there is no such catalogue.
    StoreExistsError, StoreWriteError
        ``out`` holds something else, or cannot be written.
    EmptySearchError
        No sample could be made; the message counts the reasons.
    GssmError
        Every station failed; of the kind of the first one's error.
    """
    request = _request(catalog, window, max_hours, max_cloud_cover, datetime)
    places = split_stations(check_stations(stations))
    facts = parts.describe_request(request)
    keys = [parts.hash_station(place, facts) for place in places]
    attrs = {"request": parts.hash_all(keys), "built_with": facts, **_citations(stations)}
    path = None if out is None else parts.checked_path(out)
    tell = progress or _silent
    if path is not None and parts.is_finished(path, keys):
        tell(f"{path} is there already, made of the same stations with the same options")
        return parts.read_table(path)
    outcomes = {} if path is None else parts.resume(path, keys)
    if outcomes:
        tell(f"{len(outcomes)} of {len(places)} stations are finished from an earlier run")

    def done(number: int, outcome: Outcome) -> None:
        outcomes[number] = outcome
        if path is not None and outcome.failed is None:
            parts.write_part(path, keys[number], outcome)
        tell(f"{len(outcomes)} of {len(places)} stations: {_line(places[number], outcome)}")

    todo = {number: place for number, place in enumerate(places) if number not in outcomes}
    sample_stations(todo, request, done)
    ordered = [outcomes[number] for number in range(len(places))]
    failed = [number for number, outcome in enumerate(ordered) if outcome.failed]
    refusal = _refusal(places, ordered)
    if refusal is not None:
        if path is not None:
            parts.tidy(path, finished=not failed)
        raise refusal
    if failed:
        _warn_of_failures([_line(places[number], ordered[number]) for number in failed])
    samples = _combined(ordered, attrs)
    if path is None:
        return samples
    parts.write_table(samples, path)
    parts.tidy(path, finished=not failed)
    return parts.read_table(path)


def dropped_report(samples: pd.DataFrame) -> pd.DataFrame:
    """Return why acquisitions and stations have no row in a table of `build_samples`.

    Returns
    -------
    pandas.DataFrame
        A row per acquisition that is no sample, and one per station that has none at all
        (without a time): network, station, time, measured_time and reason.

    Raises
    ------
    SamplesError
        The table has no report: it was read back or made otherwise.
    """
    text = samples.attrs.get(parts.REPORT)
    if not isinstance(text, str):
        raise SamplesError(
            "these samples carry no report of what was dropped; read the file <stem>.dropped.csv "
            "beside the table that gssm.build_samples wrote."
        )
    return parts.parse_dropped(text)


def _silent(line: str) -> None:
    pass


# --- what is asked ------------------------------------------------------------------------


def _request(
    catalog: str | Path, window: str, max_hours: float, max_cloud_cover: float, datetime: Any
) -> Request:
    check_window(window)
    check_percent("max_cloud_cover", max_cloud_cover)
    if not isinstance(max_hours, (int, float, np.number)) or not 0 < max_hours <= LONGEST_HOURS:
        raise RequestError(
            f"max_hours {max_hours!r} is not a number of hours up to {LONGEST_HOURS:g}; use 12."
        )
    first, last = (SENTINEL1_LAUNCH, END_OF_TIME) if datetime is None else check_datetime(datetime)
    place = Path(catalog).expanduser()
    if str(catalog) not in CATALOGS and place.exists():
        catalog = place.absolute()
    else:
        resolve_catalog(str(catalog))
    dates = (max(first, SENTINEL1_LAUNCH), last)
    return Request(catalog, str(window), float(max_hours), float(max_cloud_cover), dates)


def check_stations(stations: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that are read, in one type each, or refuse the table with the reason."""
    if not isinstance(stations, pd.DataFrame):
        raise SamplesError(
            f"the stations are a {type(stations).__name__}; give a pandas table, such as from "
            "gssm.read_ismn or gssm.read_uscrn."
        )
    missing = [name for name in REQUIRED if name not in stations]
    if missing:
        raise SamplesError(
            f"the stations table has no column {', '.join(map(repr, missing))}; rename or add it "
            f"(needed: {', '.join(REQUIRED)})."
        )
    if not stations.columns.is_unique:
        raise SamplesError("the stations table has two columns of one name; keep one of each.")
    if stations.empty:
        raise SamplesError("the stations table has no rows; check the filter that made it.")
    table = stations[[name for name in (*OPTIONAL, *REQUIRED) if name in stations]]
    table = table.reset_index(drop=True)
    try:
        times = pd.to_datetime(table["time"], utc=True, format="ISO8601")
        numbers = {name: pd.to_numeric(table[name]).astype(np.float64) for name in NUMBERS}
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"the stations table has a value that is no number or no time "
            f"({str(error).splitlines()[0]}); mend that column."
        ) from error
    table = table.assign(time=times.dt.tz_localize(None).astype("datetime64[ns]"), **numbers)
    _refuse_gaps(table)
    _refuse_impossible(table)
    return table


def _refuse_gaps(table: pd.DataFrame) -> None:
    for name in table.columns.drop("flag", errors="ignore"):
        values = table[name].replace([np.inf, -np.inf], np.nan) if name in NUMBERS else table[name]
        gaps = int(values.isna().sum())
        if gaps:
            raise SamplesError(
                f"{name} is missing in {gaps} of {len(table)} rows of the stations table; drop "
                f"them with stations.dropna(subset={name!r})."
            )


def _refuse_impossible(table: pd.DataFrame) -> None:
    moisture, keys = table["soil_moisture"].to_numpy(), station_keys(table).tolist()
    if moisture.max() > 1:
        raise SamplesError(
            f"soil_moisture reaches {moisture.max():g} at station {keys[moisture.argmax()]}, which "
            "looks like percent; divide it by 100 to give m3 m-3."
        )
    if moisture.min() < 0:
        raise SamplesError(
            f"soil_moisture falls to {moisture.min():g} at station {keys[moisture.argmin()]}, "
            "where 0 is the least; drop such rows."
        )
    for name, limit in (("latitude", 90), ("longitude", 180)):
        beyond = table[name].abs().to_numpy() > limit
        if beyond.any():
            first = table.iloc[int(beyond.argmax())]
            swapped = name == "latitude" and abs(first["longitude"]) <= 90
            hint = "latitude and longitude look swapped" if swapped else "give degrees"
            raise SamplesError(
                f"station {keys[beyond.argmax()]} has {name} {first[name]:g}, beyond {limit} "
                f"degrees: {hint}."
            )


def split_stations(table: pd.DataFrame) -> list[Station]:
    """Return every station of a checked table, in the order in which they first appear.

    Raises
    ------
    SamplesError
        A station has two values at one time, or stands at two places.
    """
    keys = station_keys(table)
    return [_station(str(key), rows) for key, rows in table.groupby(keys.to_numpy(), sort=False)]


def _station(key: str, rows: pd.DataFrame) -> Station:
    latitude, longitude = (float(rows[name].median()) for name in ("latitude", "longitude"))
    north, east = np.ptp(rows["latitude"]), np.ptp(rows["longitude"])
    apart = METRES_PER_DEGREE * math.hypot(north, east * math.cos(math.radians(latitude)))
    if apart > SAME_PLACE:
        raise SamplesError(
            f"the coordinates of station {key} lie {apart:.0f} m apart, and more than "
            f"{SAME_PLACE:g} m is another place; mend them, or give each place a name of its own."
        )
    rows = rows.drop_duplicates(["time", "soil_moisture"]).sort_values("time")
    twice = rows[rows["time"].duplicated()]
    if len(twice):
        time = twice["time"].iloc[0]
        values = rows.loc[rows["time"] == time, "soil_moisture"].tolist()
        raise SamplesError(
            f"station {key} has {' and '.join(f'{v:g}' for v in values)} at {time:%Y-%m-%d %H:%M}; "
            "keep one value per station and time (one depth, one sensor)."
        )
    measured = rows[[n for n in ("time", "soil_moisture", "flag") if n in rows]]
    if "flag" in measured:
        flag = measured["flag"].astype(object)
        measured = measured.assign(flag=flag.astype(str).where(flag.notna(), None))
    network = str(rows["network"].iloc[0]) if "network" in rows else None
    name = str(rows["station"].iloc[0])
    return Station(network, name, longitude, latitude, measured.reset_index(drop=True))


# --- what comes out -----------------------------------------------------------------------


def _citations(stations: pd.DataFrame) -> dict[str, Any]:
    """Take over what the readers of in-situ tables say must be cited."""
    stated = stations.attrs.get("citations")
    return {"citations": dict(stated)} if isinstance(stated, Mapping) else {}


def _combined(outcomes: Sequence[Outcome], attrs: Mapping[Any, Any]) -> pd.DataFrame:
    samples = pd.concat([o.samples for o in outcomes if len(o.samples)], ignore_index=True)
    dropped = pd.concat([o.dropped for o in outcomes], ignore_index=True)
    samples.attrs = {
        "level": "l2",  # of what `gssm.search` finds
        **attrs,
        "failed_stations": sum(outcome.failed is not None for outcome in outcomes),
        "dropped": _counts(outcomes),
        parts.REPORT: dropped.to_csv(index=False),
    }
    return samples


def _refusal(places: Sequence[Station], outcomes: Sequence[Outcome]) -> GssmError | None:
    """Return the error that says why there is no sample at all; None if there is one."""
    if any(len(outcome.samples) for outcome in outcomes):
        return None
    if all(outcome.failed for outcome in outcomes):
        kind = outcomes[0].failed or GssmError
        reason = str(outcomes[0].dropped["reason"].iloc[0]).rstrip(".")
        return kind(
            f"none of {len(places)} stations could be sampled; the first, {places[0].label}: "
            f"{reason}. Mend the cause and call again."
        )
    counts = ", ".join(f"{n} x {head}" for head, n in _counts(outcomes).items())
    reason = str(outcomes[0].dropped["reason"].iloc[0]).rstrip(".")
    return EmptySearchError(
        f"no sample could be made of {len(places)} stations ({counts}; the first, "
        f"{places[0].label}: {reason}); check the coordinates and times of the stations, or widen "
        "max_hours or the dates."
    )


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count what was dropped, by the part of the reason before its particulars."""
    reasons = (str(reason) for outcome in outcomes for reason in outcome.dropped["reason"])
    return dict(Counter(reason.partition(":")[0] for reason in reasons).most_common())


def _warn_of_failures(lines: Sequence[str]) -> None:
    warnings.warn(
        f"{len(lines)} station(s) left out: {'; '.join(line.rstrip('.') for line in lines[:3])}"
        f"{' and others' if len(lines) > 3 else ''}; the same call tries them again.",
        GssmWarning,
        stacklevel=3,
    )


def _line(place: Station, outcome: Outcome) -> str:
    if outcome.failed is not None:
        return f"{place.label} failed, {outcome.dropped['reason'].iloc[0]}"
    return f"{place.label} has {len(outcome.samples)} samples, {len(outcome.dropped)} dropped"
