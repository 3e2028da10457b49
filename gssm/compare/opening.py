"""Open another product: its files, its layout, its numbers in m3 m-3 on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gssm.compare.canonical import SOIL_MOISTURE, check_product, grid_of
from gssm.compare.cells import window
from gssm.compare.decoding import canonical_part
from gssm.compare.geotiffs import read_geotiff
from gssm.compare.hydroblocks import SERIES, read_hydroblocks
from gssm.compare.layouts import LAYOUTS, Layout
from gssm.compare.netcdf_files import contents, read_netcdf
from gssm.compare.parts import Part, Raw
from gssm.compare.smap import read_smap_l3, read_smap_l4
from gssm.errors import EmptySearchError, GssmError, ReadError, RequestError
from gssm.request import check_bbox, check_datetime

READERS: dict[str, Callable[[Path, Layout, Part], Raw]] = {
    "netcdf": read_netcdf,
    "smap-l3": read_smap_l3,
    "smap-l4": read_smap_l4,
    "geotiff": read_geotiff,
    "hru": read_hydroblocks,
}
OWN = "gssm"
SUFFIXES = (".nc", ".nc4", ".h5", ".hdf5", ".tif", ".tiff", ".zarr")


def open_product(
    path: str | Path | Sequence[str | Path],
    product: str | None = None,
    *,
    bbox: Sequence[float] | None = None,
    datetime: Any = None,
    porosity: float | xr.DataArray | None = None,
) -> xr.Dataset:
    """Open another soil moisture product in m3 m-3, on its own grid.

    Parameters
    ----------
    path
        File, folder of files at any depth, Zarr store, or several files of one product.
    product
        One of `gssm.compare.layouts.LAYOUTS`: ``"esa-cci"``, ``"era5-land"``, ``"smap-l3"``,
        ``"smap-l4"``, ``"s2mp"``, ``"copernicus-ssm"``, ``"smap-hb"``, ``"smap-hb-hru"``; or
        ``"gssm"``, what `gssm.to_zarr` or `gssm.export` wrote, which is returned as it is. By
        default what names and contents of the files say.
    bbox
        West, south, east, north in degrees: the cells that touch it; by default all.
    datetime
        As for `gssm.search`; by default all.
    porosity
        Volume of pores in the soil (m3 m-3), a number or an array ``(y, x)`` on the product's
        grid, by which percent of saturation is multiplied. Such a product is refused without.

    Returns
    -------
    xarray.Dataset
        Lazy, ``(time, y, x)`` with ``spatial_ref``: ``soil_moisture`` (m3 m-3, float32, NaN
        for no value), ``soil_moisture_uncertainty`` where the product has one,
        ``quality_flag`` (the product's own) with ``recommended`` (1 where its guide
        recommends the value), and ``observation_time`` (UTC) where it tells it for each cell.
        ``time`` is in order, noon for a product of days. Attributes: ``product``, ``title``,
        ``source`` (of the layout), ``depth_top`` and ``depth_bottom`` (m), ``porosity`` if one
        was used.

    Raises
    ------
    RequestError
        There is no such product, or the request cannot be served; or the product is in percent
        of saturation and there is no porosity.
    ReadError
        There is nothing there, or it cannot be read, or is not laid out as the product is.
    EmptySearchError
        The product has nothing in that box or period.
    """
    part = Part(
        None if bbox is None else check_bbox(bbox),
        None if datetime is None else check_datetime(datetime),
    )
    if own := _own_map(path, product):
        return check_product(_crop(_open_own(own), part, str(own)), OWN)
    layout, files = _recognise(path, product)
    reader = READERS[layout.form]
    opened = [canonical_part(reader(file, layout, part), layout, file, porosity) for file in files]
    whole = opened[0] if len(opened) == 1 else _joined(opened, layout)
    return check_product(_crop(whole, Part(None, part.span), layout.name), layout.name)


def _crop(dataset: xr.Dataset, part: Part, name: str) -> xr.Dataset:
    """Return what of a product lies in a box and a span of time, dates in order."""
    if part.bbox is not None:
        dataset = dataset.isel(window(grid_of(dataset, name), part.bbox, name))
    dataset = dataset.sortby("time") if "time" in dataset.dims else dataset
    if part.span is None:
        return dataset
    start, end = part.span
    times = pd.DatetimeIndex(dataset["time"].values)
    chosen = np.flatnonzero((times >= start) & (times <= end))
    if not chosen.size:
        raise EmptySearchError(
            f"{name} has no date from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}; it has "
            f"{times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}: choose others."
        )
    return dataset.isel(time=chosen)


def _own_map(path: str | Path | Sequence[str | Path], product: str | None) -> Path | None:
    """Path of a map that gssm wrote, as Zarr or NetCDF; None of anything else."""
    if not isinstance(path, (str, Path)) or product not in (None, OWN):
        return None
    place = Path(path).expanduser()
    if {SOIL_MOISTURE, "spatial_ref"} <= contents(place):
        return place
    if product == OWN:
        raise ReadError(
            f"{place} is no map of gssm (it has no soil_moisture with a spatial_ref); give what "
            "gssm.to_zarr or gssm.export wrote."
        )
    return None


def _open_own(place: Path) -> xr.Dataset:
    opened: xr.Dataset = (
        xr.open_zarr(place, consolidated=False)
        if place.is_dir()
        else xr.open_dataset(place, chunks={})
    )
    return opened


def is_by_unit(path: Path) -> bool:
    """Whether a folder is SMAP-HydroBlocks as archived, which is expanded where it is read."""
    return (path / SERIES).is_dir()


def _recognise(
    path: str | Path | Sequence[str | Path], product: str | None
) -> tuple[Layout, list[Path]]:
    """Return the layout and the files of a product."""
    if product is not None and product not in LAYOUTS:
        raise RequestError(
            f"there is no product {product!r}; use one of {', '.join(map(repr, (*LAYOUTS, OWN)))}."
        )
    given: Sequence[str | Path] = [path] if isinstance(path, (str, Path)) else path
    if not isinstance(given, (list, tuple)) or not all(isinstance(g, (str, Path)) for g in given):
        raise RequestError(
            f"{path!r} is no path of a product; give a file, a folder, or a list of files."
        )
    places = [Path(one).expanduser() for one in given]
    for place in places:
        if not place.exists():
            raise ReadError(f"there is nothing at {place}; check the path.")
    if not places:
        raise ReadError("no file of a product is given; give at least one.")
    if (product is None or LAYOUTS[product].form == "hru") and is_by_unit(places[0]):
        return LAYOUTS["smap-hb-hru"], places[:1]
    files = sorted({file for place in places for file in _files(place)})
    if product is not None and (named := [f for f in files if LAYOUTS[product].matches(f)]):
        return LAYOUTS[product], named  # beside them may lie files of something else
    if not files:
        raise ReadError(
            f"{places[0]} has no file of a product ({', '.join(SUFFIXES)}); give its files."
        )
    if product is not None:
        return LAYOUTS[product], files
    return _by_files(files, places[0])


def _files(place: Path) -> list[Path]:
    if place.is_file() or place.suffix == ".zarr" or (place / "zarr.json").exists():
        return [place]
    if (place / ".zgroup").exists():
        return [place]
    inside = [p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES]
    # What lies in a Zarr store is no file of its own.
    return [p for p in inside if not any(parent.suffix == ".zarr" for parent in p.parents)]


def _by_files(files: list[Path], place: Path) -> tuple[Layout, list[Path]]:
    """Recognise files by their names, else by what is in them."""
    by_name = {layout.name for file in files for layout in LAYOUTS.values() if layout.matches(file)}
    if len(by_name) == 1:
        layout = LAYOUTS[by_name.pop()]
        return layout, [file for file in files if layout.matches(file)]
    known = ", ".join(map(repr, LAYOUTS))
    if by_name:
        raise RequestError(
            f"{place} has files of {' and '.join(sorted(by_name))}; say which with product= "
            f"(NAME=PRODUCT:PATH in a shell), one of {known}."
        )
    held = contents(files[0])
    found = [row for row in LAYOUTS.values() if row.marks and set(row.marks) <= held]
    if len(found) == 1:
        return found[0], files
    raise RequestError(
        f"neither name nor contents of {files[0].name} tell which product it is; say so with "
        f"product= (NAME=PRODUCT:PATH in a shell), one of {known}."
    )


def _joined(opened: list[xr.Dataset], layout: Layout) -> xr.Dataset:
    try:
        return xr.concat(
            opened,
            "time",
            data_vars="all",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
    except (ValueError, GssmError) as error:
        raise ReadError(
            f"the files of {layout.name} are not on one grid; open each area on its own, or give a "
            "bbox that all of them hold."
        ) from error
