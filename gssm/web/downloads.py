"""A box of a dataset as one file: COG, NetCDF, CSV, or a ZIP of COGs or of Zarr."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm.archive.area import in_degrees
from gssm.archive.export import export
from gssm.archive.export_csv import MOST_ROWS
from gssm.archive.groups import PIXEL_VARIABLES
from gssm.archive.reading import open_archive
from gssm.archive.snapshots import squares_in
from gssm.errors import RequestError, StoreWriteError
from gssm.request import Bbox
from gssm.web.asking import box_km2, check_area, date_of, period_of
from gssm.web.datasets import Dataset, find_date
from gssm.web.lanes import Watch
from gssm.web.problems import TooMuchError
from gssm.web.queries import Period, period_over
from gssm.web.settings import Limits

FORMATS = ("cog", "netcdf", "zarr", "csv")
# Suffix of what is written, and media type of what is sent.
SUFFIXES = {"cog": ".tif", "netcdf": ".nc", "zarr": ".zarr", "csv": ".csv"}
MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".nc": "application/netcdf",
    ".csv": "text/csv; charset=utf-8",
    ".zip": "application/zip",
}
FOLDER = "downloads"


@dataclass(frozen=True)
class Download:
    """A download, checked.

    Attributes
    ----------
    box
        West, south, east, north in degrees.
    period, date
        First and last moment (UTC), or what names a date; one of them.
    format
        One of `FORMATS`.
    variables
        Names.
    """

    box: Bbox
    period: Period
    date: str | None
    format: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A file to send, in a folder of its own that is then deleted."""

    folder: Path
    file: Path

    @property
    def media_type(self) -> str:
        """Media type."""
        return MEDIA_TYPES[self.file.suffix]

    def discard(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def download_of(
    box: Bbox,
    datetime: str | None,
    limits: Limits,
    *,
    date: str | None = None,
    format: str = "netcdf",
    variables: str | None = None,
) -> Download:
    """Check a download as far as that goes without the dataset.

    Parameters
    ----------
    box
        West, south, east, north in degrees.
    datetime, date
        A period, or a date; one of them.
    limits
        Of a download.
    format
        One of `FORMATS`.
    variables
        Names with commas between; by default all.

    Raises
    ------
    RequestError
        A format or variable that there is not, or a period that is none.
    TooMuchError
        Box or period are too large.
    """
    if format not in FORMATS:
        raise RequestError(f"format {format[:20]!r} is unknown; give one of {', '.join(FORMATS)}.")
    names = tuple(dict.fromkeys(variables.split(","))) if variables else PIXEL_VARIABLES
    wrong = [name for name in names if name not in PIXEL_VARIABLES]
    if wrong:
        raise RequestError(
            f"variable {wrong[0][:40]!r} is none that can be downloaded; give some of "
            f"{','.join(PIXEL_VARIABLES)}."
        )
    if (datetime is None) == (date is None):
        raise RequestError("give either datetime, a period, or date, and not both.")
    period = None if datetime is None else period_of(datetime, limits.download_days)
    check_area(box_km2(box), limits.box_km2)
    return Download(box, period, None if date is None else date_of(date), format, names)


def make(watch: Watch, dataset: Dataset, wanted: Download, limits: Limits, data: Path) -> Made:
    """Write the file of a download.

    Parameters
    ----------
    watch
        Asked between chunks whether somebody still waits.
    dataset, wanted, limits
        What, and how much at most.
    data
        Folder of the server.

    Raises
    ------
    EmptySearchError
        The dataset has nothing there and then.
    TooMuchError
        More pixels than one download may have.
    StoreWriteError
        The disk is full.
    """
    opened = _opened(dataset, wanted)
    _check_size(opened, wanted, limits)
    # Nobody outside learns where the archive lies.
    opened.attrs["archive"] = dataset.id
    watched = opened.map(lambda array: _watched(watch, array), keep_attrs=True)
    folder = _folder(data)
    try:
        name, is_folder = _target(dataset, opened, wanted)
        target = folder / name
        export(watched, target, format=wanted.format)
        return Made(folder, _zipped(watch, target) if is_folder else target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def look(dataset: Dataset, wanted: Download, limits: Limits) -> tuple[str, str]:
    """Return name and media type of the file of a download, which is not written.

    Raises
    ------
    EmptySearchError, TooMuchError
        As of `make`.
    """
    opened = _opened(dataset, wanted)
    _check_size(opened, wanted, limits)
    name, is_folder = _target(dataset, opened, wanted)
    name = f"{name}.zip" if is_folder else name
    return name, MEDIA_TYPES[Path(name).suffix]


def _opened(dataset: Dataset, wanted: Download) -> xr.Dataset:
    squares = squares_in(dataset.snapshot, in_degrees(wanted.box))
    zones = [square.epsg for square in squares]
    # Over several zones in that of the most squares: nothing is mixed, pixels are the nearest.
    crs = f"EPSG:{max(zones, key=zones.count)}" if len(set(zones)) > 1 else None
    period = wanted.period
    if wanted.date is not None:
        passes = find_date(dataset, wanted.date)
        period = dataset.timeline.times[passes[0]], dataset.timeline.times[passes[-1]]
    there = period_over(dataset, squares, period)
    return open_archive(
        dataset.url,
        wanted.box,
        there,
        variables=wanted.variables,
        crs=crs,
        version=dataset.snapshot.id,
    )


def _check_size(opened: xr.Dataset, wanted: Download, limits: Limits) -> None:
    """Refuse more pixels than a download, or a table, may have."""
    dates, height, width = (opened.sizes[name] for name in ("time", "y", "x"))
    is_table = wanted.format == "csv"
    most = min(limits.download_pixels, MOST_ROWS) if is_table else limits.download_pixels
    if dates * height * width > most:
        other = ", or NetCDF" if is_table else ""
        raise TooMuchError(
            f"the download has {dates} dates of {height} x {width} pixels, which are more than "
            f"{most:,}; ask for a smaller box, fewer dates{other}."
        )


def _watched(watch: Watch, array: xr.DataArray) -> xr.DataArray:
    """Let each chunk ask whether somebody still waits for it."""

    def checked(block: NDArray[Any]) -> NDArray[Any]:
        watch.check()
        return block

    name = f"watched-{id(watch)}-{array.name}"
    return array.copy(data=array.data.map_blocks(checked, name=name, meta=np.empty(0, array.dtype)))


def _name(dataset: Dataset, opened: xr.Dataset) -> str:
    """Name of the file without its suffix: dataset, first and last day."""
    times = opened["time"].to_index()
    first, last = (f"{time:%Y%m%dT%H%M%SZ}" for time in (times[0], times[-1]))
    return f"gssm_{dataset.id}_{first}" + ("" if len(times) == 1 else f"_{last}")


def _target(dataset: Dataset, opened: xr.Dataset, wanted: Download) -> tuple[str, bool]:
    """Name of what is written, and whether it is a folder."""
    name, suffix = _name(dataset, opened), SUFFIXES[wanted.format]
    is_one = opened.sizes["time"] == 1 and len(opened.data_vars) == 1
    if wanted.format == "cog" and is_one:
        name = f"{name}_{wanted.variables[0]}"
    is_folder = wanted.format == "zarr" or (wanted.format == "cog" and not is_one)
    return (name if wanted.format == "cog" and is_folder else f"{name}{suffix}"), is_folder


def _zipped(watch: Watch, folder: Path) -> Path:
    """Pack a folder; what is in it is compressed already."""
    target = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            watch.check()
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    shutil.rmtree(folder)
    return target


def _folder(data: Path) -> Path:
    """Make a folder for one download."""
    parent = data / FOLDER
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent)).absolute()
    except OSError as error:
        raise StoreWriteError(
            f"a download cannot be written ({error.strerror}); ask whoever runs the server."
        ) from error


def clear(data: Path, limits: Limits) -> None:
    """Delete what servers left that were killed: what is older than any download may be."""
    oldest = time.time() - 4 * limits.download_seconds
    for folder in (data / FOLDER).glob("*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
