"""What may be compared: columns of the table, models, datasets, files; each as values to match."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm.archive.opening import archive_exists
from gssm.archive.points import point_series
from gssm.compare.cells import METRES_PER_DEGREE, product_series
from gssm.compare.observations import RESERVED, places
from gssm.compare.opening import is_by_unit, open_product
from gssm.errors import EmptySearchError, GssmWarning, RequestError, SamplesError
from gssm.models.ensemble import TARGET, Model
from gssm.possible import impossible
from gssm.training.blank_rows import leave_out_blank
from gssm.training.crossval import predictions
from gssm.training.fitting import check_radar, refuse_wrong_units
from gssm.training.past import with_past
from gssm.training.presets import WINDOW_DAYS
from gssm.training.protocols import station_groups

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Product = str | Path | Model | xr.Dataset | xr.DataArray

Series = tuple[pd.DataFrame, dict[str, int]]
_NOTHING = pd.DataFrame({"station": [], "time": pd.DatetimeIndex([]), "value": np.empty(0)})

METHODS = ("cell", "nearest")
# Around a station, of a product that is expanded there: some pixels of 30 m.
MARGIN_DEGREES = 0.002


@dataclass(frozen=True)
class Places:
    """How a product's cell is chosen: see `gssm.compare.report.compare`."""

    method: str
    max_distance: float
    flagged: bool


@dataclass(frozen=True)
class Source:
    """Values of one product.

    Parameters
    ----------
    name
        What the comparison calls it.
    by_row
        A value for each row of the stations' table (m3 m-3, NaN for none); or None.
    by_time
        ``station``, ``time``, ``value``, without NaN, of a product on a grid; or None.
    excluded
        Reason -> rows of the table that are left out for it.
    notes
        Counts of what else was left out: stations, values.
    """

    name: str
    by_row: Floats | None = None
    by_time: pd.DataFrame | None = None
    excluded: Mapping[str, Booleans] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


def name_products(
    products: Mapping[str, Product] | Sequence[str] | str,
) -> dict[str, Product]:
    """Return the products by name.

    Raises
    ------
    RequestError
        There is none, one of no kind that can be compared, or a name that means something
        else.
    """
    if isinstance(products, (xr.Dataset, xr.DataArray, Model, Path)):
        raise RequestError(
            "the product has no name to be called by in the table; give a mapping such as "
            "{'my map': product}."
        )
    if isinstance(products, str):
        products = [products]
    if not isinstance(products, (Mapping, list, tuple)):
        raise RequestError(
            f"the products are a {type(products).__name__}; give a mapping such as "
            "{'my map': product}, or names of columns."
        )
    named: dict[str, Product] = (
        dict(products) if isinstance(products, Mapping) else {str(n): n for n in products}
    )
    if not named:
        raise RequestError("there is no product to compare; give at least one.")
    for name, product in named.items():
        if not isinstance(name, str) or name in RESERVED or not name.strip():
            raise RequestError(
                f"a product cannot be called {name!r}, which means something else in the table of "
                "pairs; give it another name."
            )
        if not isinstance(product, (str, Path, Model, xr.Dataset, xr.DataArray)):
            raise RequestError(
                f"product {name!r} is a {type(product).__name__}; give a column of the stations' "
                "table, a dataset, a model, or a pathlib.Path."
            )
    return named


def source_of(
    name: str, product: Product, stations: pd.DataFrame, rows: pd.DataFrame, how: Places
) -> Source:
    """Return a product's values, for the rows of a table or over time at its stations.

    Parameters
    ----------
    name, product
        As from `name_products`.
    stations
        The table as the user gave it.
    rows
        The same rows as from `gssm.compare.observations.observations`.
    how
        Where the product is on a grid.
    """
    if isinstance(product, str) and "://" not in product:
        return Source(name, by_row=_column(name, product, stations))
    if isinstance(product, Model):
        return _predicted(name, product, stations)
    series, left_out = _gridded(name, product, places(rows), how)
    return Source(name, by_time=series, notes=left_out)


def _gridded(
    name: str, product: str | Path | xr.Dataset | xr.DataArray, stations: pd.DataFrame, how: Places
) -> Series:
    options: dict[str, Any] = {
        "name": name,
        "method": how.method,
        "max_distance": how.max_distance,
        "flagged": how.flagged,
    }
    if isinstance(product, (xr.Dataset, xr.DataArray)):
        return product_series(product, stations, **options)
    if isinstance(product, str) or archive_exists(product):
        return _archived(name, product, stations)
    if not is_by_unit(product):
        return product_series(open_product(product), stations, **options)
    return _by_unit(product, stations, how, options)


def _archived(name: str, url: str | Path, stations: pd.DataFrame) -> Series:
    """Read the pixels of an archive that hold the stations."""
    lons, lats = (stations[n].tolist() for n in ("longitude", "latitude"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GssmWarning)  # of squares that it lacks: counted below
        try:
            table = point_series(str(url), lons, lats).reset_index()
        except EmptySearchError:
            return _NOTHING, {f"stations outside {name}": len(stations)}
    valued = table[np.isfinite(table["soil_moisture"].to_numpy(np.float64))]
    names = stations.index.to_numpy(object)
    series = pd.DataFrame(
        {
            "station": names[valued["point"].to_numpy(np.int64)],
            "time": pd.to_datetime(valued["time"]).to_numpy("datetime64[ns]"),
            "value": valued["soil_moisture"].to_numpy(np.float64),
        }
    )
    outside = len(stations) - table["point"].nunique()
    return series, {f"stations outside {name}": outside} if outside else {}


def _by_unit(product: Path, stations: pd.DataFrame, how: Places, options: dict[str, Any]) -> Series:
    """Read SMAP-HydroBlocks around each station on its own: between them lie terabytes."""
    name = options["name"]
    reach = max(how.max_distance / METRES_PER_DEGREE, MARGIN_DEGREES)
    tables, counts = [], Counter[str]()
    for station, place in stations.iterrows():
        lon, lat = place["longitude"], place["latitude"]
        east = reach / max(np.cos(np.deg2rad(lat)), 0.1)
        try:
            around = open_product(product, bbox=(lon - east, lat - reach, lon + east, lat + reach))
        except EmptySearchError:
            counts[f"stations outside {name}"] += 1
            continue
        table, left_out = product_series(around, stations.loc[[station]], **options)
        tables.append(table)
        counts.update(left_out)
    return (pd.concat(tables, ignore_index=True) if tables else _NOTHING), dict(counts)


def _column(name: str, column: str, stations: pd.DataFrame) -> Floats:
    if column not in stations:
        numbers = [str(n) for n in stations.columns if str(n).startswith("pred")]
        hint = f" (it has {', '.join(numbers)})" if numbers else ""
        raise SamplesError(
            f"the stations' table has no column {column!r} for product {name!r}{hint}; name one of "
            "its columns, or give a dataset, a model or a pathlib.Path."
        )
    try:
        values = stations[column].to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"column {column!r} of the stations' table holds no numbers; name another."
        ) from error
    finite = values[np.isfinite(values)]
    if finite.size and np.median(np.abs(finite)) > 1:
        raise SamplesError(
            f"column {column!r} of the stations' table is {np.median(finite):g} in the middle, "
            "which looks like percent; divide it by 100 to give m3 m-3."
        )
    wrong = impossible(finite)
    if wrong.size:
        raise SamplesError(
            f"column {column!r} of the stations' table holds {wrong[0]:g}, which is no m3 m-3; "
            "make NaN of what stands for no value."
        )
    return np.asarray(values)


def _predicted(name: str, model: Model, samples: pd.DataFrame) -> Source:
    """Score the rows that taught the model nothing, as a map of it would have them."""
    check_radar(samples)
    refuse_wrong_units(samples)
    count = len(samples)
    taught = _taught(name, model, samples)
    values = np.full(count, np.nan)
    why = f"rows at, or within 2 km of, stations of networks that taught {name}"
    excluded: dict[str, Booleans] = {}
    if taught.any():
        excluded[why] = taught
    fresh = samples[~taught].assign(_row=np.flatnonzero(~taught))
    if fresh.empty:
        raise SamplesError(
            f"every row is of a network that taught {name!r}, which shows how well it remembers; "
            "give other stations, or predictions of gssm.cross_validate as a column."
        )
    hyperparameters = model.provenance.get("training", {}).get("hyperparameters", {})
    window = hyperparameters.get("window_days", WINDOW_DAYS)
    table = with_past(fresh, model.spec, model.water_cloud, window_days=window)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GssmWarning)  # counted below
        kept, _ = leave_out_blank(table, model.water_cloud)
    kept_rows = kept["_row"].to_numpy(np.int64)
    values[kept_rows] = predictions(model, kept)[TARGET].to_numpy(np.float64)
    blank = ~taught
    blank[kept_rows] = False
    if blank.any():
        excluded[f"rows at which a map of {name} has no value"] = blank
    return Source(name, by_row=values, excluded=excluded)


def _taught(name: str, model: Model, samples: pd.DataFrame) -> Booleans:
    """Rows at stations whose network taught a model, and at those near them."""
    training: Mapping[str, Any] = model.provenance.get("training", {})
    networks = [str(network) for network in training.get("networks", ())]
    nothing = np.zeros(len(samples), dtype=np.bool_)
    if "network" not in samples:
        if training:
            warnings.warn(
                f"the stations' table has no column 'network', so that nothing tells which rows "
                f"taught {name!r}; scores on such rows are better than on unseen places.",
                GssmWarning,
                stacklevel=5,
            )
        return nothing
    of_network = samples["network"].astype(str).isin(networks).to_numpy()
    if not of_network.any():
        return nothing
    groups = station_groups(samples)
    return np.asarray(np.isin(groups, np.unique(groups[of_network])))
