"""The shell's commands for readers and keepers of an archive: export, series, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gssm import errors
from gssm.archive_commands import Areas, Place, Scheduler, Squares, Workers, archive_app
from gssm.shell import POINT_WORDS, BboxOption, app, err, out, sentences

Dates = Annotated[
    str, typer.Option("--datetime", help="2018-05-01/2018-09-30, a day or a month (UTC).")
]
Overwrite = Annotated[bool, typer.Option(help="Replace what is there.")]
VersionOption = Annotated[
    str, typer.Option("--version", help="Id, tag or moment; by default the newest.")
]


@app.command()
@sentences
def export(
    archive: Place,
    destination: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File; .tif, .nc, .csv or .zarr tells how (.tif: one date and one variable, with "
            "--variables soil_moisture). Or, with --format cog, a folder of many.",
        ),
    ],
    bbox: BboxOption,
    datetime: Dates = "",
    form: Annotated[
        str, typer.Option("--format", help="cog, netcdf, csv or zarr, whatever the name.")
    ] = "",
    variables: Annotated[
        str, typer.Option(help="Such as soil_moisture,quality_flag; by default all.")
    ] = "",
    crs: Annotated[str, typer.Option(help="Of the map, such as EPSG:3035.")] = "",
    version: VersionOption = "",
    overwrite: Overwrite = False,
) -> None:
    """Write a box of an archive as GeoTIFF, NetCDF, CSV or Zarr.

    Example: `gssm export --archive flanders --bbox 3.01 50.81 3.03 50.82 --datetime 2023-06
    --out june.nc`
    """
    from gssm.archive.export import export as write
    from gssm.archive.reading import open_archive
    from gssm.request import check_bbox

    names = [name.strip() for name in variables.split(",") if name.strip()]
    product = open_archive(
        archive,
        check_bbox(bbox),
        datetime or None,
        variables=names or None,
        crs=crs or None,
        version=version or None,
    )
    with err.status("writing"):
        written = write(product, destination, format=form or None, overwrite=overwrite)
    _print_places(written)


@app.command()
@sentences
def series(
    archive: Place,
    destination: Annotated[Path, typer.Option("--out", help="File, .csv or .parquet.")],
    point: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Longitude and latitude in degrees.", metavar=POINT_WORDS),
    ] = None,
    polygon: Annotated[
        str, typer.Option(help="GeoJSON file of polygons, or 'W S E N': their mean.")
    ] = "",
    datetime: Dates = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the dates of a point, or of the mean of a polygon, as a table."""
    from gssm.archive.series import point_series, polygon_series, write_series

    if (point is None) == (not polygon):
        raise errors.RequestError("the place is missing or double; give --point or --polygon.")
    dates = datetime or None
    if point is not None:
        table = point_series(archive, *point, datetime=dates)
    else:
        table = polygon_series(archive, polygon, datetime=dates)
    path = write_series(table, destination, overwrite=overwrite)
    out.print(f"wrote {path}: {len(table)} dates", highlight=False, soft_wrap=True)


@archive_app.command()
@sentences
def publish(
    archive: Place,
    destination: Annotated[Path, typer.Option("--out", help="Folder of the catalogue.")],
) -> None:
    """Write a STAC catalogue of an archive, as static JSON and stac-geoparquet.

    Run it again after an update: only what changed is written.
    """
    from gssm.archive.acquisitions import read_rows, squares_of
    from gssm.archive.publish import publish as write
    from gssm.archive.repository import find_archive

    place = find_archive(archive)
    rows = {square: read_rows(place, square) for square in squares_of(place)}
    written = write(place.url, rows, destination, chunk=place.chunk)
    out.print(f"wrote {len(written)} files to {destination}", highlight=False, soft_wrap=True)


@archive_app.command()
@sentences
def past(
    archive: Place,
    aoi: Areas,
    datetime: Dates,
    scheduler: Scheduler = "",
    workers: Workers = 0,
) -> None:
    """Compute dry and wet references of the past, which the default model reads.

    Once for each place, from a year or more, before `gssm archive build`; it goes on where it
    ended. Maps made without them are flagged history_missing.
    """
    from gssm.archive.area import read_area
    from gssm.archive.clusters import cluster
    from gssm.archive.past_run import fill_past
    from gssm.archive.recipe import read_recipe
    from gssm.archive.repository import find_archive

    area, place = read_area(aoi), find_archive(archive)
    recipe = read_recipe(place)
    if recipe is None:
        raise errors.ArchiveError(
            f"archive {place.url}: nothing says how it is made; run `gssm archive build` first, "
            "with a day that has a radar image, say."
        )
    with cluster(scheduler, workers) as client, err.status("reading the past") as shown:

        def report(summary: object) -> None:
            shown.update(f"reading the past: {summary}")

        summary = fill_past(place, area, datetime, recipe, client, report=report)
    out.print(
        f"references of {summary.done} chunks computed, {summary.known} there before, "
        f"{len(summary.failed)} failed",
        highlight=False,
        soft_wrap=True,
    )
    if summary.failed:
        raise errors.ReadError(
            f"{len(summary.failed)} chunks failed, the first: {summary.failed[0].rstrip('.')}; run "
            "the same command again."
        )


@archive_app.command()
@sentences
def background(
    archive: Place,
    datetime: Dates = "",
    squares: Squares = "",
    renew: Annotated[bool, typer.Option("--replace", help="Make what is there anew.")] = False,
    scheduler: Scheduler = "",
    workers: Workers = 0,
) -> None:
    """Put a picture of the ground beneath the maps: true colour of Sentinel-2, without clouds.

    From the year before the newest map, or the dates that are given. It goes on where it ended;
    after an archive has grown, run it again.
    """
    from gssm.archive.clusters import cluster
    from gssm.archive.recipe import read_recipe
    from gssm.archive.repository import find_archive
    from gssm.archive.true_color_run import TrueColorSummary, fill_true_color

    place = find_archive(archive)
    recipe = read_recipe(place)
    if recipe is None:
        raise errors.ArchiveError(
            f"archive {place.url}: nothing says how it is made; run `gssm archive build` first."
        )
    names = squares.replace(",", " ").split()
    with cluster(scheduler, workers) as client, err.status("reading images") as shown:

        def report(s: TrueColorSummary) -> None:
            shown.update(f"reading images: {s.done} chunks done, {len(s.failed)} failed")

        summary = fill_true_color(
            place,
            recipe,
            client,
            datetime=datetime or None,
            squares=names,
            renew=renew,
            report=report,
        )
    out.print(
        f"pictures of {summary.done} chunks made, {summary.known} there before, "
        f"{summary.imageless} without an image, {len(summary.failed)} failed",
        highlight=False,
        soft_wrap=True,
    )
    if summary.failed:
        raise errors.ReadError(
            f"{len(summary.failed)} chunks failed, the first: {summary.failed[0].rstrip('.')}; run "
            "the same command again."
        )


@archive_app.command()
@sentences
def versions(archive: Place) -> None:
    """List the versions of an archive, the newest first."""
    from gssm.archive.repository import find_archive
    from gssm.archive.versions import versions as found

    for one in found(find_archive(archive)):
        out.print(f"{one.id}  {one.time:%Y-%m-%d %H:%M:%S}  {one.message}", highlight=False)


@archive_app.command()
@sentences
def clean(
    archive: Place,
    versions_days: Annotated[
        int, typer.Option(min=1, help="Versions older than this go, the newest never.")
    ] = 30,
    garbage_days: Annotated[
        int, typer.Option(min=1, help="Chunks of no version go when they are older than this.")
    ] = 7,
) -> None:
    """Forget old versions, and remove what none of those left has.

    Whoever reads a version that goes, or runs a job for longer than `--garbage-days`, is cut
    off.
    """
    from datetime import timedelta

    from gssm.archive.repository import find_archive
    from gssm.archive.versions import collect_garbage, expire

    place = find_archive(archive)
    gone = expire(place, timedelta(days=versions_days))
    freed = collect_garbage(place, timedelta(days=garbage_days))
    out.print(f"{gone} versions forgotten, {freed / 1e9:.3f} GB freed", highlight=False)


def _print_places(written: list[Path]) -> None:
    for path in written[:20]:
        out.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if len(written) > 20:
        out.print(f"and {len(written) - 20} more", highlight=False)
