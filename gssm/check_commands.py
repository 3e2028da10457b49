"""The shell's command for physical checks: ``gssm check``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssm import errors
from gssm.shell import (
    BboxOption,
    Catalog,
    DatetimeOption,
    ModelOption,
    app,
    out,
    progress,
    sentences,
)

if TYPE_CHECKING:
    import xarray as xr

# Chunks that each side is divided into, and dates that are mapped again without.
PARTS = 3
AGAIN = 3
# Bytes of a cube that is read once and kept.
MOST_BYTES = 2e9
# Dates of a chunk of it: fewer and larger tasks.
DATES = 40
# Partners of the references of the past, as of those that taught the model.
FRESH = "3D"
# The largest cloud cover of a scene: the mask decides by pixel.
ALL_CLOUDS = 100.0


@app.command()
@sentences
def check(
    bbox: BboxOption,
    datetime: DatetimeOption,
    catalog: Catalog = "planetary-computer",
    archive: Annotated[
        str, typer.Option(help="Check the maps of an archive instead of making them.")
    ] = "",
    rain: Annotated[
        Path | None, typer.Option(help="Daily rain there: NetCDF, CSV or Parquet.")
    ] = None,
    fields: Annotated[
        str, typer.Option(help="NetCDF of a number for each field, or PATH:VARIABLE.")
    ] = "",
    model: ModelOption = "default",
    window: Annotated[
        str, typer.Option(help="Largest time to an optical image; older than 3 days is flagged.")
    ] = "60D",
    folder: Annotated[
        Path | None, typer.Option("--out", help="Also write the report to a new folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace that folder.")] = False,
    strict: Annotated[
        bool, typer.Option(help="End with code 1 where a check finds less than is expected.")
    ] = False,
) -> None:
    """Check a map without stations: rain, seasons, orbits, fields and seams.

    Example: `gssm check --catalog CATALOGUE --bbox 3.0195 50.8132 3.0282 50.8187
    --datetime 2017-08/2018-11 --rain rain.nc`. Give a few kilometres and a year or more.
    """
    from gssm.archive.places import refuse_existing
    from gssm.checks.rain import read_rain
    from gssm.checks.report import check as examine
    from gssm.checks.saving import MARKER
    from gssm.request import check_bbox

    box = check_bbox(bbox)
    if folder is not None:
        refuse_existing(folder, overwrite, (MARKER,))
    place = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    daily = None if rain is None else read_rain(rain, *place)
    labels = _labels(fields) if fields else None
    cube: xr.Dataset | None = None
    footprints = again = None
    if archive:
        from gssm.archive.reading import open_archive

        product = open_archive(archive, box, datetime)
    else:
        cube, product, again, footprints = _made(box, datetime, catalog, model, window)
    with progress("mapping"):
        report = examine(
            product, rain=daily, cube=cube, fields=labels, footprints=footprints, again=again
        )
    out.print(str(report), highlight=False, soft_wrap=True)
    if folder is not None:
        for file in report.save(folder, overwrite=overwrite):
            out.print(f"wrote {file}", highlight=False, soft_wrap=True)
    if strict and not report.passed:
        raise typer.Exit(1)


def _made(box: Any, datetime: str, catalog: str, model: str, window: str) -> tuple[Any, ...]:
    """Cube, maps, some maps again in other chunks, and which images cover which pixels."""
    from gssm.align import open_cube
    from gssm.checks.covers import covers
    from gssm.grid import make_grid
    from gssm.history import WINDOW, history, with_history
    from gssm.models.bundle import resolve
    from gssm.models.ensemble import OF_THE_PAST
    from gssm.predict import predict
    from gssm.search import search

    loaded = resolve(model).load()
    grid = make_grid(box, 10)
    items = search(
        box,
        datetime,
        catalog=catalog,
        level=loaded.spec.level,
        max_cloud_cover=ALL_CLOUDS,
        window=window,
    )
    chunks = {"y": -(-grid.shape[0] // PARTS), "x": -(-grid.shape[1] // PARTS)}
    cube = open_cube(items, bbox=box, window=window)
    if sum(variable.nbytes for variable in cube.variables.values()) < MOST_BYTES:
        # The checks, the past and the map read the same images.
        with progress("reading images"):
            cube = cube.compute().chunk({"time": DATES, **chunks})
    else:
        cube = open_cube(items, bbox=box, window=window, chunks=chunks)
    if not OF_THE_PAST.isdisjoint(loaded.spec.features) and _has_a_past(cube):
        fresh = cube if window == FRESH else open_cube(items, bbox=box, window=FRESH, chunks=WINDOW)
        with progress("reading the past"):
            cube = with_history(cube, history(fresh).compute())
    some = cube.isel(time=slice(None, None, -(-cube.sizes["time"] // AGAIN)))
    again = predict(some.chunk({"time": 1, "y": -1, "x": -1}), model)
    return cube, predict(cube, model), again, covers(items, cube)


def _has_a_past(cube: xr.Dataset) -> bool:
    from gssm.percentiles import MIN_COUNT

    dates = cube.sizes["time"]
    if dates < MIN_COUNT:
        warnings.warn(
            f"{dates} radar dates are too few for references of the past ({MIN_COUNT} at least), "
            "so the model does without; give a year or more.",
            errors.GssmWarning,
            stacklevel=2,
        )
    return dates >= MIN_COUNT


def _labels(place: str) -> xr.DataArray:
    import xarray as xr

    path, colon, name = place.rpartition(":")
    if not colon or Path(place).exists():
        path, name = place, ""
    if not Path(path).is_file():
        raise errors.RequestError(f"there is no file of fields at {path}; check the path.")
    try:
        with xr.open_dataset(path) as dataset:
            maps = [str(n) for n, v in dataset.data_vars.items() if set(v.dims) == {"y", "x"}]
            if not name and len(maps) == 1:
                name = maps[0]
            if name not in maps:
                raise errors.RequestError(
                    f"{path} has the maps {', '.join(maps) or 'none'}; name one, as "
                    f"{path}:{maps[0] if maps else 'VARIABLE'}."
                )
            return dataset[name].load()
    except (OSError, ValueError) as error:
        if isinstance(error, errors.GssmError):
            raise
        raise errors.RequestError(
            f"{path} cannot be read as a map of fields ({str(error).splitlines()[0]}); give NetCDF."
        ) from error
