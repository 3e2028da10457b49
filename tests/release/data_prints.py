"""Prints of the real test data: what `data_scan` searches the package and the tree for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from release.data_scan import (
    DECIMALS,
    PLACE_DECIMALS,
    RUN,
    WINDOW,
    Hashes,
    Known,
    Prints,
    byte_hashes,
    is_varied,
    text_hashes,
)

# Table: columns that name a station, its latitude and longitude, and in-situ soil moisture.
TABLES = {
    "stations/stations_l2.parquet": (
        ["network", "station"],
        "latitude",
        "longitude",
        "soil_moisture",
    ),
    "stations/stations_l1c_10day.parquet": (
        ["network", "station"],
        "lat",
        "lon",
        "InSituSM_m3m3_10daymean",
    ),
    "stations/stations_scan_l8.parquet": (["site"], "lat", "lon", "sm5_m3m3"),
    "insitu/uscrn_daily_2020.parquet": (["wban"], "latitude", "longitude", "soil_moisture_5_daily"),
}
IMAGES = (".tif", ".tiff")
SMALLEST_FILE = 64  # bytes; smaller ones say nothing, and may be equal by chance


def prints_of(data: Path) -> Prints:
    """Make the prints of a folder of real data."""
    tables = {name: pd.read_parquet(data / name) for name in TABLES}
    series = [*_station_series(tables), *_ismn_series(data)]
    values = _known(_value_windows(one, 1) for one in series)
    features = _known(_value_windows(one, RUN) for one in _features(tables))
    pixels = _known(_pixel_windows(row) for row in _images(data))
    return Prints(
        files=_files(data),
        bytes_of={"in-situ values": values, "features of stations": features, "pixels": pixels},
        text_of={d: _known(_text_windows(one, d) for one in series) for d in DECIMALS},
        places=frozenset(_places(tables)),
    )


def _known(parts: Iterator[Hashes]) -> Known:
    return Known.of(np.concatenate([part.ravel() for part in parts]))


def _files(data: Path) -> dict[str, str]:
    paths = [p for p in data.rglob("*") if p.is_file() and p.stat().st_size >= SMALLEST_FILE]
    return {
        hashlib.sha256(p.read_bytes()).hexdigest(): p.relative_to(data).as_posix() for p in paths
    }


def _station_series(tables: dict[str, pd.DataFrame]) -> Iterator[NDArray[np.float64]]:
    """In-situ values of each station, in the order of the table, without its gaps."""
    for name, (station, _, _, column) in TABLES.items():
        for _, rows in tables[name].groupby(station, sort=False, dropna=False):
            yield rows[column].dropna().to_numpy(np.float64)


def _ismn_series(data: Path) -> Iterator[NDArray[np.float64]]:
    for path in sorted(data.rglob("*.stm")):
        lines = path.read_text(errors="replace").splitlines()[1:]
        yield np.array([float(line.split()[2]) for line in lines if len(line.split()) > 3])


def _features(tables: dict[str, pd.DataFrame]) -> Iterator[NDArray[np.float64]]:
    """What satellites saw at a station: each feature in time, and the features of each row."""
    for name, (*_, column) in TABLES.items():
        if not name.startswith("stations/"):
            continue
        numbers = tables[name].select_dtypes("floating").drop(columns=column)
        rows = numbers.to_numpy(np.float64)
        yield from np.ascontiguousarray(rows.T)
        yield rows.ravel()


def _windows(values: NDArray[Any], length: int, step: int) -> NDArray[Any]:
    if values.size < length:
        return np.empty((0, length), values.dtype)
    return np.lib.stride_tricks.sliding_window_view(values, length)[::step]


def _value_windows(values: NDArray[np.float64], step: int) -> Hashes:
    """Hashes of all windows of a series of values, as floats of both sizes.

    In both orders of bytes: NumPy and safetensors have the one, UBJ and old formats the other.
    """
    found = []
    for size in (4, 8):
        length = WINDOW // size
        windows = _windows(values, length, max(1, step * length // RUN))
        windows = windows[is_varied(windows, length // 2 + 1)]
        for order in "<>":
            copy = np.ascontiguousarray(windows, dtype=f"{order}f{size}")
            found.append(byte_hashes(copy)[:, 0])
    return np.concatenate(found)


def _text_windows(values: NDArray[np.float64], decimals: int) -> Hashes:
    windows = _windows(values, RUN, 1)
    windows = windows[is_varied(np.round(windows, decimals))]
    return text_hashes(np.ascontiguousarray(windows), decimals)[:, 0]


def _images(data: Path) -> Iterator[NDArray[Any]]:
    """Rows of pixels of every image and NetCDF variable: (rows, pixels)."""
    import rasterio

    for path in (p for p in sorted(data.rglob("*")) if p.suffix.lower() in IMAGES):
        with rasterio.open(path) as image:
            yield from (image.read(number) for number in image.indexes)
    for path in sorted(data.rglob("*.nc")):
        with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as dataset:
            arrays = [one.values for one in dataset.data_vars.values() if one.ndim > 1]
        yield from (a.reshape(-1, a.shape[-1]) for a in arrays if a.dtype.kind in "iuf")


def _pixel_windows(band: NDArray[Any]) -> Hashes:
    """Hashes of the windows of a band that lie side by side, as its pixels are."""
    length = WINDOW // band.dtype.itemsize
    usable = band.shape[1] // length * length
    windows = np.ascontiguousarray(band[:, :usable]).reshape(-1, length)
    windows = windows[is_varied(windows, length // 2)]
    return byte_hashes(windows)[:, 0]


def _places(tables: dict[str, pd.DataFrame]) -> Iterator[tuple[float, float]]:
    for name, (_, latitude, longitude, _) in TABLES.items():
        pairs = tables[name][[latitude, longitude]].drop_duplicates().round(PLACE_DECIMALS)
        # Coordinates to a hundredth of a degree are places of anything.
        exact = pairs[(pairs.round(2) != pairs).all(axis=1)]
        yield from exact.itertuples(index=False, name=None)
