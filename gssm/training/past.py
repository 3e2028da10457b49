"""The dry and wet references of stations, from their own rows: the table's `gssm.history`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm import schema
from gssm.errors import SamplesError
from gssm.history import INPUTS, screened
from gssm.models.table import samples_to_dataset
from gssm.percentiles import MIN_COUNT, statistics
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec
from gssm.training.blanking import blank_outside
from gssm.training.fitting import station_keys

# A table without masks is not screened for clouds, which a cube is. Cloud, snow and haze are
# bright in the blue and white, or colder than ground; bare soil and sand are as bright in
# places, but red (blue / red of 0.6 to 0.7 at four desert stations, of 1 in cloud).
BRIGHTEST_BLUE: Mapping[str, float] = MappingProxyType({"s2": 0.18, "landsat": 0.2})
REDDEST_CLOUD = 0.75
COLDEST_GROUND = 255.0  # K


def with_past(
    samples: pd.DataFrame,
    spec: str | FeatureSpec,
    water_cloud: WaterCloud | None = None,
    min_count: int = MIN_COUNT,
    window_days: float | None = None,
) -> pd.DataFrame:
    """Add the references that a spec asks for and the table lacks.

    The same definition as `gssm.history`, over the rows of each station in place of the
    acquisitions of each pixel. Soil moisture is not read. Where a row has a mask
    (``s2_mask``, ``landsat_mask``) it is screened by it as a cube is; where it has none,
    Sentinel-2 and Landsat values that look like cloud are left out of the references.

    Parameters
    ----------
    samples
        Canonical columns, as from `gssm.read_samples`; whole stations, before any row is
        held out or blanked.
    spec
        Whose `gssm.schema.REFERENCES`, or positions between them, are asked for.
    water_cloud
        Parameters for the references of ``vv_soil`` and ``vh_soil``.
    min_count
        Stations with fewer values than this have NaN.
    window_days
        Optical partners farther from the radar stay out, as `gssm.history` has none.

    Returns
    -------
    pandas.DataFrame
        The table itself if nothing is lacking; else a copy with float32 columns added,
        the same for all rows of a station. Rows, order, index and attrs are kept.

    Raises
    ------
    SamplesError
        The table has no station, no radar or no row.
    """
    lacking = [name for name in _asked_for(schema.resolve_spec(spec)) if name not in samples]
    if not lacking:
        return samples
    if "station" not in samples:
        raise SamplesError(
            "the samples table has no column 'station', whose past the references are made of; "
            "read it with gssm.read_samples or add it."
        )
    bases = [b for b in schema.HISTORY_BASES if any(_of_base(b, name) for name in lacking)]
    near = samples if window_days is None else blank_outside(samples, window_days)
    values = _values(near, bases, water_cloud or WaterCloud())
    codes, stations = pd.factorize(station_keys(samples))
    references = _by_station(values, codes, len(stations), min_count)
    names = [f"{base}_{statistic}" for base in bases for statistic in schema.HISTORY_STATISTICS]
    added = pd.DataFrame(references[codes], columns=names, index=samples.index)[lacking]
    result = pd.concat([samples, added], axis=1)
    result.attrs = dict(samples.attrs)
    return result


def _of_base(base: str, reference: str) -> bool:
    return reference.rpartition("_")[0] == base


def _asked_for(spec: FeatureSpec) -> list[str]:
    """Return the references that a spec has as features or needs for its positions."""
    asked = set(spec.features)
    for base in schema.HISTORY_BASES:
        if f"{base}_{schema.POSITION}" in asked:
            asked |= {f"{base}_p05", f"{base}_p95"}
    return [name for name in schema.REFERENCES if name in asked]


def _values(
    samples: pd.DataFrame, bases: list[str], water_cloud: WaterCloud
) -> NDArray[np.float32]:
    """Return the values that enter the references, (bases, rows)."""
    rows = samples[[name for name in INPUTS if name in samples]].copy()
    for sensor in BRIGHTEST_BLUE:
        seen = [name for name in rows.columns if name.startswith(f"{sensor}_")]
        rows.loc[_cloudy(samples, sensor), seen] = np.nan
    dataset = samples_to_dataset(rows)
    return np.stack([v.values for v in screened(dataset, bases, water_cloud)])


def _cloudy(samples: pd.DataFrame, sensor: str) -> NDArray[np.bool_]:
    """Tell the rows without a mask whose values of this sensor look like cloud."""

    def column(name: str) -> NDArray[np.float32]:
        if name in samples:
            return samples[name].to_numpy(np.float32)
        return np.full(len(samples), np.nan, np.float32)

    blue, red = column(f"{sensor}_b2"), column(f"{sensor}_b4")
    # Without a red band all that is bright is left out.
    cloudy = (blue > BRIGHTEST_BLUE[sensor]) & ~(blue < REDDEST_CLOUD * red)
    if sensor == "landsat":
        cloudy |= column("landsat_b10") < COLDEST_GROUND
    return np.asarray(cloudy & np.isnan(column(f"{sensor}_mask")))


def _by_station(
    values: NDArray[np.float32], codes: NDArray[np.int64], stations: int, min_count: int
) -> NDArray[np.float32]:
    """Return references (stations, bases * statistics) of values (bases, rows)."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=stations))
    references = np.empty((stations, len(values) * len(schema.HISTORY_STATISTICS)), np.float32)
    for station, rows in enumerate(np.split(order, ends[:-1])):
        references[station] = statistics(values[:, rows], min_count).T.ravel()
    return references
