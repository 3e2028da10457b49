"""Cloud-Optimized GeoTIFF: a file for each date and variable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from gssm.archive import encoding
from gssm.archive.export import FORMATS
from gssm.archive.export_empty import seen, told, warn_if_empty
from gssm.archive.parts import packed, packing, parts
from gssm.archive.product import as_text, grid_of
from gssm.archive.store import refuse_empty
from gssm.archive.whole import local_path, whole
from gssm.errors import RequestError

# Lies in every folder of COGs that an export wrote, and describes it.
RECORD = "gssm-export.json"
BLOCK = 512
# How overviews are made; the mean of bits means nothing, and GDAL knows no bitwise OR.
MEAN, MOST_FREQUENT = "average", "mode"
# Written first, then copied to the layout of a COG, which cannot be written in parts.
SCRATCH = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
COG = {
    "driver": "COG",
    "blocksize": BLOCK,
    "compress": "DEFLATE",  # which every reader knows, those in browsers too
    "level": 6,
    "predictor": "YES",
    "bigtiff": "IF_SAFER",
    "num_threads": "ALL_CPUS",
}
ALONG_TIME = ("relative_orbit", "orbit_state", "platform")


def write(dataset: xr.Dataset, path: str | Path, overwrite: bool) -> list[Path]:
    """Write a product (`gssm.archive.product.product`) as COGs into a folder, or as one."""
    target = local_path(path)
    names = list(map(str, dataset.data_vars))
    counts: dict[str, int] = {}
    valued: set[str] = set()
    if target.suffix.lower() in FORMATS["cog"]:
        if dataset.sizes["time"] > 1 or len(names) > 1:
            raise RequestError(
                f"{path} is one file, and there are {dataset.sizes['time']} dates of "
                f"{len(names)} variables to write; give a folder and format='cog' (--format cog), "
                "or one date (--datetime) and one variable (--variables soil_moisture; of a "
                "dataset, dataset[['soil_moisture']].isel(time=[0]))."
            )
        with whole(target, overwrite) as partial:
            _write_date(dataset, {names[0]: partial}, counts, valued)
            refuse_empty(counts)
        warn_if_empty(target, told(dataset), valued)
        return [target]
    dates = dataset["time"].to_index()
    files = {
        date: {name: f"{target.name}_{date:%Y%m%dT%H%M%SZ}_{name}.tif" for name in names}
        for date in dates
    }
    with whole(target, overwrite, (RECORD,)) as partial:
        partial.mkdir()
        for i, date in enumerate(dates):
            places = {name: partial / file for name, file in files[date].items()}
            _write_date(dataset.isel(time=[i]), places, counts, valued)
        refuse_empty(counts)
        record = {"files": [f for of_date in files.values() for f in of_date.values()]}
        described = record | as_text(dataset.attrs)
        (partial / RECORD).write_text(json.dumps(described, indent=1, default=float))
    warn_if_empty(target, told(dataset), valued)
    return [target / file for file in record["files"]]


def _write_date(
    dataset: xr.Dataset, places: dict[str, Path], counts: dict[str, int], valued: set[str]
) -> None:
    """Write every variable of one date: in parts, then as a COG."""
    import rasterio
    from rasterio.shutil import copy
    from rasterio.windows import Window

    grid = grid_of(dataset)
    scratch = {n: p.with_name(f"{p.name}.scratch.tif") for n, p in places.items()}
    open_files: dict[str, Any] = {}
    try:
        for name, place in scratch.items():
            open_files[name] = rasterio.open(place, "w", **_profile(name, grid))
            _describe(open_files[name], dataset, name)
        for part in seen(parts(dataset, counts), told(dataset), valued):
            window = Window.from_slices(part.rows, part.columns)
            for name, values in part.values.items():
                open_files[name].write(packed(name, values[0]), 1, window=window)
    finally:
        for file in open_files.values():
            file.close()
    for name, place in scratch.items():
        copy(place, places[name], **COG, overview_resampling=_resampling(name))
        place.unlink()


def _resampling(name: str) -> str:
    how = packing(name)
    return MOST_FREQUENT if how is not None and how.scale is None else MEAN


def _profile(name: str, grid: GeoBox) -> dict[str, Any]:
    how = packing(name)
    return {
        **SCRATCH,
        "height": grid.shape.y,
        "width": grid.shape.x,
        "count": 1,
        "crs": str(grid.crs),
        "transform": grid.affine,
        "dtype": how.dtype if how else "float32",
        "nodata": how.fill if how else np.nan,
    }


def _describe(file: Any, dataset: xr.Dataset, name: str) -> None:
    """Say in the file what it holds, and where it came from."""
    how, attrs = packing(name), dataset[name].attrs
    date = pd.Timestamp(dataset["time"].values[0])
    along_time = {n: dataset[n].values[0] for n in ALONG_TIME if n in dataset.coords}
    scale = 1.0 if how is None or how.scale is None else how.scale
    file.scales, file.offsets = (scale,), (0.0,)
    file.units = (str(attrs.get("units", "1")),)
    file.descriptions = (str(attrs.get("long_name", name)),)
    file.update_tags(1, **{n: v for n, v in as_text(attrs).items() if n not in NOT_TAGS})
    if how is not None and how.scale is None:
        file.update_tags(1, flag_masks=", ".join(map(str, np.asarray(attrs["flag_masks"]))))
    file.update_tags(
        **as_text({**dataset.attrs, **along_time}),
        time=f"{date:%Y-%m-%dT%H:%M:%SZ}",
        variable=name,
        overviews=f"{_resampling(name)} of the pixels below",
        AREA_OR_POINT="Area",
        TIFFTAG_DATETIME=f"{date:%Y:%m:%d %H:%M:%S}",
        TIFFTAG_SOFTWARE=f"gssm {dataset.attrs['product_version']}",
        TIFFTAG_COPYRIGHT=encoding.ACKNOWLEDGEMENT,
    )


# Of a NetCDF file: a COG has bands, and says it in other words.
NOT_TAGS = ("flag_masks", "grid_mapping", "ancillary_variables")
