"""Reading an archive: opening it, a series of one pixel against GDAL, a window over the network."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from s3_here import s3_here

from gssm.archive import groups, snapshots
from gssm.archive import opening as opening_of
from gssm.archive.acquisitions import transact
from gssm.archive.packing import PACKINGS
from gssm.archive.points import point_series, read_pixels
from gssm.archive.reading import open_archive
from gssm.archive.repository import Archive, create_archive
from gssm.archive.snapshots import open_snapshot
from gssm.archive.tiles import chunk_grid, chunk_window, parse
from gssm.archive.timeline import read_timeline
from gssm.archive.zones import transformer

Line = tuple[str, str, str]
Packed = dict[str, NDArray[Any]]

SQUARE, CHUNK, INDEX = parse("31UFS"), 1000, (4, 5)
# Row and column of the pixel, in the chunk.
PIXEL = (543, 321)
TEN_YEARS = 1200  # dates of two orbits
DAYS_3 = 259_200
START = 1_451_606_400  # 2016-01-01
ROUNDS = 5


def random_field(rng: np.random.Generator, slope: float) -> NDArray[np.float32]:
    """Smooth field of a chunk, mean 0 and spread 1: noise whose spectrum falls by a power."""
    spectrum = np.fft.rfft2(rng.standard_normal((CHUNK, CHUNK)))
    waves = np.hypot(np.fft.fftfreq(CHUNK)[:, None], np.fft.rfftfreq(CHUNK)[None])
    waves[0, 0] = np.inf
    field = np.fft.irfft2(spectrum * waves**-slope, s=(CHUNK, CHUNK))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def dates_of_a_chunk(dates: int, seed: int = 0) -> Iterator[Packed]:
    """Packed pixels of one chunk, date by date.

    Soil moisture is a mixture of fields, different at each date, with 0.008 m3 m-3 of noise
    from pixel to pixel; a tenth has no value, elsewhere at each date.
    """
    rng = np.random.default_rng(seed)
    fields = [random_field(rng, 1.5) for _ in range(4)]
    gaps = random_field(rng, 1.8) > 1.3
    for date in range(dates):
        weights = rng.dirichlet(np.ones(len(fields)))
        mixed = sum(w * field for w, field in zip(weights, fields, strict=True))
        noise = rng.standard_normal((2, CHUNK, CHUNK), dtype=np.float32)
        values = {
            "soil_moisture": np.clip(0.22 + 0.08 * mixed + 0.008 * noise[0], 0.01, 0.6),
            "soil_moisture_uncertainty": 0.08 + 0.01 * fields[date % 4] + 0.003 * noise[1],
            "s2_age": np.where(fields[(date + 1) % 4] > 0, 1.5, -0.83),
            "landsat_age": np.where(fields[(date + 2) % 4] > 0, 2.5, -1.83),
        }
        missing = np.roll(gaps, date, axis=1)
        packed = {"quality_flag": np.where(fields[date % 4] > 1, 8, 0).astype(np.uint16)}
        packed["quality_flag"][missing] = 32
        for name, physical in values.items():
            how = PACKINGS[name]
            assert how.scale is not None
            packed[name] = np.rint(physical / how.scale).astype(how.dtype)
            if not name.endswith("age"):
                packed[name][missing] = how.fill
        yield packed


def fill_archive(archive: Archive, dates: int, write_also: Callable[[int, Packed], None]) -> None:
    """Write one chunk of a square, all dates in one transaction."""

    def change(root: Any, _: str) -> bool:
        group = groups.create_group(root, SQUARE, CHUNK)
        for name in groups.ALONG_TIME:
            along = groups.array(group, name)
            along.resize((dates,))
            along[...] = START + DAYS_3 * np.arange(dates) if name == "time" else 0
        for pixels in groups.pixel_arrays(group):
            pixels.resize((dates, *pixels.shape[1:]))
        window = chunk_window(INDEX, CHUNK)
        for date, packed in enumerate(dates_of_a_chunk(dates)):
            for name, values in packed.items():
                groups.array(group, name)[(date, *window)] = values
            write_also(date, packed)
        return True

    transact(archive, "benchmark", change)


def write_cog(path: Path, values: NDArray[Any]) -> None:
    import rasterio

    grid = chunk_grid(SQUARE, INDEX, CHUNK)
    profile = {"driver": "COG", "height": CHUNK, "width": CHUNK, "count": 1, "nodata": 65535}
    options = {"compress": "DEFLATE", "predictor": "YES", "blocksize": 512}
    with rasterio.open(
        path,
        "w",
        **profile,
        **options,
        dtype=values.dtype,
        crs=f"EPSG:{SQUARE.epsg}",
        transform=grid.affine,
    ) as file:
        file.write(values, 1)


def point_series_against_cogs(dates: int = TEN_YEARS, rounds: int = ROUNDS) -> Iterator[Line]:
    """Read soil moisture of one pixel, all dates, from an archive and from a COG of each date.

    The COGs are no larger than a chunk, which is to GDAL's advantage: their headers are short.
    In turns, both from the memory of the system; GDAL as fast as one process does it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = create_archive(folder / "archive", chunk=CHUNK)
        fill_archive(
            archive, dates, lambda i, v: write_cog(folder / f"{i:05d}.tif", v["soil_moisture"])
        )
        pixel = tuple(CHUNK * index + at for index, at in zip(INDEX, PIXEL, strict=True))
        lon, lat = place_of(*pixel)
        ways: dict[str, Callable[[], Any]] = {
            "archive": lambda: _of_archive(archive, pixel),
            "GDAL": lambda: _of_cogs(folder, dates),
            "point_series": lambda: point_series(archive.url, lon, lat),
        }
        expected, found = ways["GDAL"](), ways["archive"]()
        np.testing.assert_array_equal(np.rint(np.nan_to_num(found, nan=6.5535) * 1e4), expected)
        assert len(ways["point_series"]()) == dates
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, read in ways.items():
                start = time.perf_counter()
                read()
                seconds[way].append(time.perf_counter() - start)
        pairs = list(zip(*seconds.values(), strict=True))
        middle = {way: statistics.median(s) / dates * 1e3 for way, s in seconds.items()}
        ratio = statistics.median(ours / gdal for ours, gdal, _ in pairs)
        all_five = statistics.median(whole / gdal for _, gdal, whole in pairs)
        files = sum(file.stat().st_size for file in folder.glob("*.tif")) / dates / 1e6
    shown = f"{dates} dates"
    yield f"GDAL, a COG of each date ({files:.2f} MB), ms a date", f"{middle['GDAL']:.2f}", "-"
    yield "archive, soil moisture, ms a date", f"{middle['archive']:.2f}", "-"
    yield f"archive / GDAL, {shown}, median", f"{ratio:.2f}", "<= 1"
    yield "point_series, five variables, ms a date", f"{middle['point_series']:.2f}", "-"
    yield "point_series, five variables / GDAL, one, median", f"{all_five:.2f}", "<= 5"


def place_of(row: int, column: int) -> tuple[float, float]:
    """Longitude and latitude of the middle of a pixel."""
    left, _, _, top = SQUARE.bounds
    to_degrees = transformer(SQUARE.epsg, inverse=True)
    lon, lat = to_degrees.transform(left + 10 * column + 5, top - 10 * row - 5)
    return lon, lat


def _of_archive(archive: Archive, pixel: tuple[int, ...]) -> NDArray[Any]:
    """Opened anew, as GDAL opens each file."""
    snapshot = open_snapshot(archive.url)
    timeline = read_timeline(snapshot, [SQUARE])
    at = np.array([pixel[0]]), np.array([pixel[1]])
    values = read_pixels(snapshot, SQUARE, timeline.places[0], at, ["soil_moisture"])
    return values["soil_moisture"][:, 0]


def _of_cogs(folder: Path, dates: int) -> NDArray[Any]:
    import rasterio

    row, column = PIXEL
    values = np.empty(dates, np.uint16)
    # Else GDAL lists the folder for each file.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        for date in range(dates):
            with rasterio.open(folder / f"{date:05d}.tif") as file:
                window = ((row, row + 1), (column, column + 1))
                values[date] = file.read(1, window=window)[0, 0]
    return values


def opening(dates: int = TEN_YEARS) -> Iterator[Line]:
    """Open a square with ten years of dates, whose chunks are not there: only its size counts."""
    with tempfile.TemporaryDirectory() as name:
        archive = create_archive(f"{name}/archive", chunk=CHUNK)

        def change(root: Any, _: str) -> bool:
            group = groups.create_group(root, SQUARE, CHUNK)
            for along in (groups.array(group, n) for n in groups.ALONG_TIME):
                along.resize((dates,))
                along[...] = START + DAYS_3 * np.arange(dates) if along.basename == "time" else 0
            for pixels in groups.pixel_arrays(group):
                pixels.resize((dates, *pixels.shape[1:]))
            return True

        transact(archive, "benchmark", change)
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            found = open_archive(archive.url)
            seconds.append(time.perf_counter() - start)
        billions = np.prod(found["soil_moisture"].shape) / 1e9
        first = found.isel(time=0, y=slice(0, 100), x=slice(0, 100))
        start = time.perf_counter()
        first.compute()
        window = time.perf_counter() - start
    yield (
        f"open_archive, {billions:.0f} billion pixels, s",
        f"{statistics.median(seconds):.2f}",
        "<= 2",
    )
    yield "a window of it, five variables, s", f"{window:.2f}", "<= 2"


def forget() -> None:
    """Be as a process that has read nothing yet."""
    for cached in (opening_of._opened, snapshots._root, snapshots._array):
        cached.cache_clear()


def window() -> Iterator[Line]:
    """Read a window of one date, as large as a chunk and in place, behind S3: count requests."""
    with s3_here() as s3:
        archive = create_archive(f"s3://{s3.bucket()}/archive", chunk=CHUNK)
        fill_archive(archive, 3, lambda *_: None)
        forget()
        before = len(s3.requests)
        found = open_archive(archive.url)
        opened = len(s3.requests) - before
        s3.requests.clear()
        row, column = (CHUNK * place for place in INDEX)
        left, _, _, top = SQUARE.bounds
        one = found.isel(time=1).sel(
            y=slice(top - 10 * row, top - 10 * (row + CHUNK)),
            x=slice(left + 10 * column, left + 10 * (column + CHUNK)),
        )
        assert one["soil_moisture"].shape == (CHUNK, CHUNK)
        read = one.compute()
        chunks, every = s3.count("^GET .*/chunks/"), len(s3.requests)
        assert all(np.isfinite(read[name]).any() for name in PACKINGS)
    yield "S3: requests to open the archive", f"{opened}", ""
    yield "S3: chunks read for a window of one chunk, a variable", f"{chunks / 5:g}", "= 1"
    yield "S3: other requests of the window, a variable", f"{(every - chunks) / 5:g}", "<= 1"
