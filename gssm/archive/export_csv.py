"""CSV: a row for each date and pixel, and beside it what describes it (CSV on the Web)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm import quality
from gssm.archive.export_cog import ALONG_TIME
from gssm.archive.export_empty import told, warn_if_empty
from gssm.archive.packing import NOT_COMPUTED, NOT_COMPUTED_MEANING
from gssm.archive.parts import DIMENSIONS, packing, parts
from gssm.archive.product import as_text, grid_of
from gssm.archive.store import refuse_empty
from gssm.archive.whole import local_path, whole
from gssm.errors import RequestError

# A spreadsheet holds 1 048 576; the same pixels take a hundredth of it as NetCDF.
MOST_ROWS = 1_000_000
MEANINGS = (
    *((flag.mask, flag.meaning) for flag in quality.FLAGS),
    (NOT_COMPUTED, NOT_COMPUTED_MEANING),
)
# Rows that are text at once.
ROWS = 50_000


def write(dataset: xr.Dataset, path: str | Path, overwrite: bool) -> list[Path]:
    """Write a product (`gssm.archive.product.product`) as a table, ordered by date and place."""
    target = local_path(path)
    number = int(np.prod([dataset.sizes[d] for d in DIMENSIONS]))
    if number > MOST_ROWS:
        raise RequestError(
            f"{path} would have {number} rows and a CSV gets {MOST_ROWS} at most; select fewer "
            "dates or a smaller box, or write NetCDF (.nc)."
        )
    metadata = target.with_name(f"{target.name}-metadata.json")
    with whole(target, overwrite) as partial:
        arrays = _computed(dataset)
        with open(partial, "w", newline="", encoding="utf-8") as file:
            for i, table in enumerate(_tables(dataset, arrays)):
                table.to_csv(file, header=i == 0, index=False, lineterminator="\r\n")
        with whole(metadata, True) as described:
            columns = list(table.columns)
            described.write_text(json.dumps(_describe(dataset, target.name, columns), indent=1))
    names = told(dataset)
    valued = {name for name in names if np.isfinite(arrays[name]).any()}
    warn_if_empty(target, names, valued)
    return [target, metadata]


def _computed(dataset: xr.Dataset) -> dict[str, NDArray[Any]]:
    """Every variable in memory, which the largest number of rows bounds."""
    counts: dict[str, int] = {}
    shape = tuple(dataset.sizes[d] for d in DIMENSIONS)
    arrays: dict[str, NDArray[Any]] = {}
    for part in parts(dataset, counts):
        for name, values in part.values.items():
            arrays.setdefault(name, np.empty(shape, values.dtype))[part.place] = values
    refuse_empty(counts)
    return arrays


def _tables(dataset: xr.Dataset, arrays: dict[str, NDArray[Any]]) -> Iterator[pd.DataFrame]:
    longitude, latitude = _places(dataset)
    shape = tuple(dataset.sizes[d] for d in DIMENSIONS)
    along = {"y": dataset["y"].values, "x": dataset["x"].values}
    times = pd.DatetimeIndex(dataset["time"].values).strftime("%Y-%m-%dT%H:%M:%SZ")
    total = int(np.prod(shape))
    for start in range(0, total, ROWS):
        flat = np.arange(start, min(start + ROWS, total))
        time, row, column = np.unravel_index(flat, shape)
        columns: dict[str, Any] = {
            "time": times[time],
            "x": along["x"][column],
            "y": along["y"][row],
            "longitude": np.round(longitude[row, column], 7),
            "latitude": np.round(latitude[row, column], 7),
        }
        for name, values in arrays.items():
            columns[name] = _rounded(name, values.reshape(-1)[flat])
            if _is_flags(name):
                columns[f"{name}_meanings"] = _meanings(values.reshape(-1)[flat])
        for name in (n for n in ALONG_TIME if n in dataset.coords):
            columns[name] = dataset[name].values[time]
        yield pd.DataFrame(columns)


def _is_flags(name: str) -> bool:
    how = packing(name)
    return how is not None and how.scale is None


def _rounded(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Values to a tenth of the step that other formats have."""
    how = packing(name)
    if how is None or how.scale is None:
        return values
    decimals = 1 - int(np.floor(np.log10(how.scale)))
    return np.round(values.astype(np.float64), decimals)


def _meanings(flags: NDArray[Any]) -> NDArray[Any]:
    """Names of the flags that are set, joined by a bar."""
    known = {}
    for value in np.unique(flags):
        number = int(value)
        known[number] = "|".join(says for mask, says in MEANINGS if number & mask)
    return np.array([known[int(value)] for value in flags], object)


def _places(dataset: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of every pixel centre, degrees."""
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(str(grid_of(dataset).crs), "EPSG:4326", always_xy=True)
    x, y = np.meshgrid(dataset["x"].values, dataset["y"].values)
    longitude, latitude = to_degrees.transform(x, y)
    return longitude, latitude


def _describe(dataset: xr.Dataset, name: str, columns: list[str]) -> dict[str, Any]:
    """Metadata of the table after the W3C's Model for Tabular Data, and the product's own."""
    described = []
    for column in columns:
        attrs = dataset[column].attrs if column in dataset.variables else {}
        says = {"name": column, "titles": column, "dc:description": attrs.get("long_name")}
        says |= {"gssm:units": attrs.get("units")}
        described.append({n: v for n, v in says.items() if v})
    own = as_text(dataset.attrs)
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"gssm": REFERENCES}],
        "url": name,
        "dc:title": own["title"],
        "dc:license": own["license"],
        "dc:bibliographicCitation": own["citation"],
        "tableSchema": {"columns": described},
        "gssm:crs": str(grid_of(dataset).crs),
        **{f"gssm:{n}": _plain(v) for n, v in own.items()},
    }


REFERENCES = "https://doi.org/10.5281/zenodo.16956743#"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
