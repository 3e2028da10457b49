"""NetCDF-4, packed, CF-1.11 and ACDD-1.3, written part by part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gssm.archive import encoding
from gssm.archive.export_empty import seen, told, warn_if_empty
from gssm.archive.parts import DIMENSIONS, packed, packing, parts
from gssm.archive.product import as_text
from gssm.archive.store import refuse_empty
from gssm.archive.whole import local_path, whole

if TYPE_CHECKING:
    from netCDF4 import Dataset

# Pixels a side of a chunk in the file, at most.
CHUNK = 1000
LEVEL = 4
# What xarray takes for granted of a calendar, and CF 1.11 wants to read.
POSIX = {"units_metadata": "leap_seconds: none"}


def write(dataset: xr.Dataset, path: str | Path, overwrite: bool) -> list[Path]:
    """Write a product (`gssm.archive.product.product`) as one file."""
    import netCDF4

    target = local_path(path)
    counts: dict[str, int] = {}
    names, valued = told(dataset), set[str]()
    with whole(target, overwrite) as partial, netCDF4.Dataset(partial, "w") as file:
        file.set_fill_off()  # every pixel is written
        for name, size in dataset.sizes.items():
            file.createDimension(str(name), size)
        file.setncatts(as_text(dataset.attrs))
        _write_coordinates(dataset, file)
        for name in map(str, dataset.data_vars):
            _create(dataset, file, name)
        for part in seen(parts(dataset, counts), names, valued):
            for name, values in part.values.items():
                # A CF flag says what was never computed; a fill value would make floats.
                is_flags = _is_flags(name)
                file[name][part.place] = values if is_flags else packed(name, values)
        refuse_empty(counts)
    warn_if_empty(target, names, valued)
    return [target]


def _write_coordinates(dataset: xr.Dataset, file: Dataset) -> None:
    coords = dataset.coords.to_dataset()
    coords["time"].encoding = dict(encoding.TIME_ENCODING)
    for name in coords.variables:
        if name != "time":
            coords[name].encoding = {"_FillValue": None}
    encoded, _ = xr.conventions.cf_encoder(dict(coords.variables), {})
    for name, variable in encoded.items():
        is_text = variable.dtype.kind in "OUST"
        dtype: Any = str if is_text else variable.dtype.newbyteorder("=")
        made = file.createVariable(str(name), dtype, variable.dims)
        attrs = {n: v for n, v in as_text(variable.attrs).items() if n not in ("_FillValue",)}
        made.setncatts(attrs | (POSIX if name == "time" else {}))
        made[...] = np.asarray(variable.values, object) if is_text else variable.values


def _create(dataset: xr.Dataset, file: Any, name: str) -> None:
    """Make the variable of some pixels, with all that its packing says."""
    how = packing(name)
    is_flags = _is_flags(name)
    dtype: Any = np.dtype(how.dtype if how else np.float32)
    fill = np.nan if how is None else how.fill
    chunks = dataset.chunks
    sizes = [min(CHUNK, dataset.sizes[d], *chunks.get(d, ())[:1]) for d in DIMENSIONS[1:]]
    # Without a fill value flags stay whole numbers where they are opened.
    marked = {} if is_flags else {"fill_value": dtype.type(fill)}
    layout: dict[str, Any] = {"chunksizes": (1, *sizes), "compression": "zlib", **marked}
    variable = file.createVariable(name, dtype, DIMENSIONS, complevel=LEVEL, **layout)
    variable.set_auto_maskandscale(False)
    attrs = as_text({n: v for n, v in dataset[name].attrs.items() if n != "flag_masks"})
    if is_flags:
        attrs["flag_masks"] = np.asarray(dataset[name].attrs["flag_masks"], dtype)
    elif how is not None and how.scale is not None:
        limits = [round(limit / how.scale) for limit in (how.smallest, how.largest)]
        attrs["valid_range"] = np.array(limits, dtype)
        # Of the type that the values have when they are unpacked.
        attrs |= {"scale_factor": np.float32(how.scale), "add_offset": np.float32(0)}
    there = [n for n in dataset.coords if n not in (*DIMENSIONS, "spatial_ref", encoding.BOUNDS)]
    variable.setncatts({**attrs, "coordinates": " ".join(map(str, there))})


def _is_flags(name: str) -> bool:
    how = packing(name)
    return how is not None and how.scale is None
