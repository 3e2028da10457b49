"""The shell's commands for archives: ``gssm archive`` and ``gssm update``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssm import errors
from gssm.archive_tables import (
    print_estimate,
    print_recipe,
    print_summary,
    print_totals,
    rows_table,
    shown,
    squares_table,
)
from gssm.shell import app, err, out, save_new, sentences

if TYPE_CHECKING:
    from gssm.archive.recipe import Recipe
    from gssm.archive.repository import Archive
    from gssm.archive.rounds import Round
    from gssm.archive.run import Budget, Summary

archive_app = typer.Typer(
    no_args_is_help=True,
    help="Build an archive of a region, fill in its past, and see what it holds.",
)
app.add_typer(archive_app, name="archive")

Place = Annotated[
    str, typer.Option("--archive", help="Folder, s3://bucket/prefix, gs://… or az://….")
]
CatalogName = Annotated[
    str | None, typer.Option("--catalog", help="As of `gssm search`; by default the archive's.")
]
ModelName = Annotated[str | None, typer.Option("--model", help="default, or the path of a bundle.")]
Clouds = Annotated[
    float | None, typer.Option("--max-cloud-cover", help="Percent; scenes cloudier are left out.")
]
Window = Annotated[
    str | None, typer.Option("--window", help="Largest time between radar and optical image.")
]
Elevation = Annotated[
    str | None, typer.Option("--elevation", help="Which goes first: alos or copernicus.")
]
MaxFailed = Annotated[
    float | None,
    typer.Option("--max-failed", help="Largest share of pixels that may fail to be read."),
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace maps of another model.")]
Scheduler = Annotated[
    str,
    typer.Option(help="Dask scheduler, tcp://… or tls://…; by default the cores of this machine."),
]
Workers = Annotated[int, typer.Option(help="Processes on this machine; by default its cores.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would come to, no more.")]
Rate = Annotated[float, typer.Option(min=0, help="Price of a core-hour, for --dry-run.")]
Areas = Annotated[
    str, typer.Option("--aoi", help="'W S E N' in degrees, or a GeoJSON file of polygons.")
]
Squares = Annotated[
    str, typer.Option("--squares", help="MGRS squares, comma separated, such as 31UDS,31UES.")
]


@dataclass(frozen=True)
class _How:
    """How a command works: where, and whether at all."""

    scheduler: str
    workers: int
    replace_any: bool = False
    dry_run: bool = False
    rate: float = 0.0
    budget: Budget | None = None


@archive_app.command()
@sentences
def build(
    archive: Place,
    datetime: Annotated[
        str, typer.Option("--datetime", help="2018-05-01/2018-09-30, a day or a month (UTC).")
    ],
    aoi: Areas = "",
    squares: Squares = "",
    catalog: CatalogName = None,
    model: ModelName = None,
    max_cloud_cover: Clouds = None,
    window: Window = None,
    elevation: Elevation = None,
    max_failed: MaxFailed = None,
    renew: Replace = False,
    scheduler: Scheduler = "",
    workers: Workers = 0,
    dry_run: DryRun = False,
    rate: Rate = 0.0,
    chunk: Annotated[int, typer.Option(hidden=True)] = 1000,
) -> None:
    """Map every acquisition of a region and period that the archive has not.

    Run it again to go on after an interruption. Example: `gssm archive build --archive
    flanders --aoi "2.5 50.7 5.9 51.5" --datetime 2023-05/2023-09`
    """
    from gssm.archive.recipe import Recipe
    from gssm.archive.rounds import Round
    from gssm.request import check_datetime

    options = dict(
        catalog=catalog,
        model=model,
        max_cloud_cover=max_cloud_cover,
        window=window,
        elevation=elevation,
        max_failed=max_failed,
    )
    check_datetime(datetime)
    how = _How(scheduler, workers, renew, dry_run, rate)
    shape, names = _area([aoi] if aoi else []), _names(squares)
    if shape is None and not names:
        raise errors.RequestError("no area was given; say what to map with --aoi or --squares.")
    added = Recipe(area=_written(shape), squares=() if shape is not None else names)
    place, recipe = _opened(archive, added, options)
    keep = partial(_kept, place, archive, recipe, chunk)
    _perform(place, [Round(shape, datetime, names)], recipe, how, chunk, keep)


@archive_app.command()
@sentences
def backfill(
    archive: Place,
    since: Annotated[str, typer.Option(help="First date, such as 2016-01-01.")],
    priority: Annotated[
        list[str], typer.Option(help="Area, as --aoi; several, the most urgent first.")
    ],
    until: Annotated[str, typer.Option(help="Last date; by default now.")] = "",
    order: Annotated[
        str, typer.Option(help="Which months come first: newest or oldest.")
    ] = "newest",
    budget_jobs: Annotated[int | None, typer.Option(min=1, help="Stop after so many jobs.")] = None,
    budget_hours: Annotated[
        float | None, typer.Option(min=0, help="Begin no job after so many hours.")
    ] = None,
    catalog: CatalogName = None,
    model: ModelName = None,
    scheduler: Scheduler = "",
    workers: Workers = 0,
    dry_run: DryRun = False,
    rate: Rate = 0.0,
    chunk: Annotated[int, typer.Option(hidden=True)] = 1000,
) -> None:
    """Fill in the past, month by month and area by area, as far as a budget goes.

    Run it again to go on. Example: `gssm archive backfill --archive flanders --since 2016-01-01
    --priority fields.geojson --priority "2.5 50.7 5.9 51.5" --budget-hours 8`
    """
    from gssm.archive.area import read_area
    from gssm.archive.recipe import Recipe
    from gssm.archive.run import Budget
    from gssm.archive.update import backfill_rounds

    budget = Budget(budget_jobs, budget_hours)
    how = _How(scheduler, workers, dry_run=dry_run, rate=rate, budget=budget)
    areas = [read_area(one) for one in priority]
    rounds = list(backfill_rounds(areas, since, _last(until), order))
    options = dict(catalog=catalog, model=model)
    added = Recipe(area=_written(_area(priority)))
    place, recipe = _opened(archive, added, options)
    keep = partial(_kept, place, archive, recipe, chunk)
    _perform(place, rounds, recipe, how, chunk, keep)


@app.command()
@sentences
def update(
    archive: Place,
    scheduler: Scheduler = "",
    workers: Workers = 0,
    dry_run: DryRun = False,
    rate: Rate = 0.0,
) -> None:
    """Add the newest images to an archive, as it was built; fit for cron.

    A date is mapped with what there is, and again when a better partner comes within the
    window. Two updates at once do no harm: each date is written once.
    """
    from gssm.archive.recipe import read_recipe
    from gssm.archive.repository import find_archive
    from gssm.archive.update import update_rounds

    place = find_archive(archive)
    recipe = read_recipe(place)
    if recipe is None:
        raise errors.ArchiveError(
            f"archive {place.url}: nothing says how it was made; build it with "
            "`gssm archive build`."
        )
    rounds = update_rounds(place, recipe, _now())
    _perform(place, rounds, recipe, _How(scheduler, workers, dry_run=dry_run, rate=rate))


@archive_app.command()
@sentences
def status(
    archive: Place,
    square: Annotated[str, typer.Option(help="Every acquisition of this square.")] = "",
    state: Annotated[
        str, typer.Option("--status", help="Only acquisitions that are done, skipped or failed.")
    ] = "",
    csv: Annotated[Path | None, typer.Option(help="Also write all rows to a file.")] = None,
) -> None:
    """Show what an archive holds, what was skipped and what failed, and why."""
    import pandas as pd

    from gssm.archive.acquisitions import read_rows, squares_of
    from gssm.archive.ledger import as_frame
    from gssm.archive.recipe import read_recipe
    from gssm.archive.repository import find_archive
    from gssm.archive.tiles import parse

    if state not in ("", "done", "skipped", "failed"):
        raise errors.RequestError(f"there is no status {state!r}; use done, skipped or failed.")
    place = find_archive(archive)
    chosen = [parse(square)] if square else squares_of(place)
    tables = [as_frame(read_rows(place, one), one.name) for one in chosen]
    tables = [table for table in tables if len(table)]
    if not tables:
        raise errors.EmptySearchError(
            f"archive {place.url} has no acquisition" + (f" of {square}." if square else " yet.")
        )
    table = pd.concat(tables, ignore_index=True)
    if state:
        table = table[table["status"] == state]
    out.print(rows_table(table) if square or state else squares_table(table))
    print_totals(table)
    print_recipe(read_recipe(place))
    if csv is not None:
        save_new(csv, lambda file: table.to_csv(file, index=False))


def _last(until: str) -> Any:
    from gssm.request import check_datetime

    return check_datetime(until)[1] if until else _now()


def _now() -> Any:
    import pandas as pd

    return pd.Timestamp.now("UTC").tz_localize(None)


def _area(words: Sequence[str]) -> Any:
    """Union of areas, or None where none is given."""
    import shapely

    from gssm.archive.area import read_area

    return shapely.union_all([read_area(one) for one in words]) if words else None


def _written(shape: Any) -> str:
    import shapely

    return "" if shape is None else str(shapely.to_geojson(shape.normalize()))


def _names(squares: str) -> tuple[str, ...]:
    from gssm.archive.tiles import parse

    return tuple(parse(name).name for name in squares.replace(",", " ").split())


def _opened(url: str, added: Recipe, options: dict[str, Any]) -> tuple[Archive | None, Recipe]:
    """Find an archive, if there is one, and how a run makes it; nothing is written."""
    from gssm.archive.plan import refuse_unservable
    from gssm.archive.recipe import Recipe, read_recipe, stated
    from gssm.archive.repository import archive_exists, find_archive

    archive = find_archive(url) if archive_exists(url) else None
    old = read_recipe(archive) if archive is not None else None
    recipe = stated(old or Recipe(), options)
    refuse_unservable(recipe.settings(), recipe.max_cloud_cover)
    return archive, replace(recipe, area=added.area, squares=added.squares)


def _kept(archive: Archive | None, url: str, recipe: Recipe, chunk: int) -> Archive:
    """Make an archive that is not there yet, and keep in it how it is made."""
    from gssm.archive.recipe import extended, read_recipe, write_recipe
    from gssm.archive.repository import create_archive

    archive = archive or create_archive(url, chunk=chunk)
    old = read_recipe(archive)  # again: while this one was planned, another may have begun
    whole = extended(old, recipe)
    _tell_changes(old, whole)
    write_recipe(archive, whole)
    return archive


def _tell_changes(old: Recipe | None, new: Recipe) -> None:
    for name in ("catalog", "model", "window", "elevation", "max_cloud_cover", "max_failed"):
        before = getattr(old, name, None)
        if old is not None and before != getattr(new, name):
            out.print(
                f"the archive's {name} was {before} and is {getattr(new, name)} from now on",
                highlight=False,
                soft_wrap=True,
            )


def _perform(
    archive: Archive | None,
    rounds: list[Round],
    recipe: Recipe,
    how: _How,
    chunk: int = 1000,
    keep: Callable[[], Archive] | None = None,
) -> None:
    """Plan rounds and run what they come to, or say what it would be.

    What is new has a `keep`, which writes how the archive is made: not before the catalogue has
    shown an acquisition there, since every update will look where the recipe says.
    """
    from gssm.archive.clusters import cluster_when_used
    from gssm.archive.costs import estimate
    from gssm.archive.flight import PER_THREAD
    from gssm.archive.onset import begin, refusal
    from gssm.archive.plan import steps
    from gssm.archive.rounds import rounds_size
    from gssm.archive.run import Summary, run

    planned = partial(
        steps,
        archive,
        rounds,
        catalog=recipe.catalog,
        max_cloud_cover=recipe.max_cloud_cover,
        settings=recipe.settings(how.replace_any),
        chunk=chunk,
    )
    total = rounds_size(rounds)
    if how.dry_run:
        with err.status("planning"):
            notes, found = begin(planned())
            side = archive.chunk if archive else chunk
            whole = estimate(found or iter(notes), side, recipe.model)
        if found is None and keep and not whole.unplanned:
            raise refusal(rounds, recipe.catalog)
        print_estimate(whole, how.rate)
        _raise_unplanned(whole.unplanned, whole.reason)
        return
    # Where nothing is to be done, no process is started for it.
    used = cluster_when_used(how.scheduler, how.workers)
    with used as (client, threads), shown(total) as report:
        notes, found = begin(planned(abreast=PER_THREAD * threads))
        failed = [note.reason for note in notes if note.kind == "unplanned"]
        if found is None and keep:
            if not failed:
                raise refusal(rounds, recipe.catalog)
            summary = Summary(months=len(notes), unplanned=failed)
        else:
            place = keep() if keep else archive
            assert place is not None
            found = found or iter(notes)
            summary = run(place, found, client, budget=how.budget, report=report)
    print_summary(summary)
    _raise_failures(summary)


def _raise_failures(summary: Summary) -> None:
    """End the command with an error where something failed; all the rest is in the archive."""
    if summary.failed:
        raise errors.ReadError(
            f"{summary.failed} acquisitions failed; see `gssm archive status --status failed`, and "
            "run the same command again to try them again."
        )
    _raise_unplanned(len(summary.unplanned), next(iter(summary.unplanned), ""))


def _raise_unplanned(number: int, reason: str) -> None:
    if number:
        raise errors.CatalogUnreachableError(
            f"the catalogue failed for {number} months of squares; run the same command again to "
            f"plan them (the first: {reason.rstrip('.')})."
        )
