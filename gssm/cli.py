"""The command line: ``gssm demo | search | matchups | predict | history | ...``."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from gssm import (
    archive_commands,
    check_commands,
    compare_commands,
    errors,
    product_commands,
    training_commands,
    web_commands,
)
from gssm.shell import (
    BboxOption,
    Catalog,
    Clouds,
    DatetimeOption,
    ModelOption,
    Window,
    app,
    frame_table,
    orbit_label,
    out,
    progress,
    save_new,
    sentences,
)

__all__ = [
    "app",
    "archive_commands",
    "check_commands",
    "compare_commands",
    "product_commands",
    "training_commands",
    "web_commands",
]


@app.command()
@sentences
def search(
    bbox: BboxOption,
    datetime: DatetimeOption,
    catalog: Catalog = "planetary-computer",
    max_cloud_cover: Clouds = 60,
    window: Window = "3D",
    save: Annotated[
        Path | None, typer.Option("--out", help="Also save the items as an ItemCollection.")
    ] = None,
) -> None:
    """List the images of every sensor over a place and period.

    Example: `gssm search --bbox 3.0195 50.8132 3.0282 50.8187 --datetime 2018-05`
    """
    from gssm.request import check_bbox
    from gssm.search import search as find

    box = check_bbox(bbox)
    items = find(box, datetime, catalog=catalog, max_cloud_cover=max_cloud_cover, window=window)
    counts: dict[str, list[Any]] = {}
    for item in items:
        counts.setdefault(item.collection_id or "none", []).append(item.datetime)
    table = Table("collection", "items", "first", "last")
    for name, moments in sorted(counts.items()):
        first, last = min(moments), max(moments)
        table.add_row(name, str(len(moments)), f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}")
    out.print(table)
    if save is not None:
        save_new(save, lambda file: items.save_object(str(file)))
        out.print(f"saved {len(items)} items to {save}", highlight=False, soft_wrap=True)


@app.command()
@sentences
def matchups(
    bbox: BboxOption,
    datetime: DatetimeOption,
    catalog: Catalog = "planetary-computer",
    max_cloud_cover: Clouds = 60,
    window: Window = "3D",
    measure: Annotated[
        bool, typer.Option(help="Read the cloud masks coarsely: what share of the box is clear?")
    ] = False,
    save: Annotated[Path | None, typer.Option("--out", help="Also save the table as CSV.")] = None,
) -> None:
    """Show the available dates: every radar acquisition and its optical partners.

    Days are optical minus radar: -1.3 means that the image was taken before the radar.
    """
    from gssm.matchups import matchups as match
    from gssm.request import check_bbox
    from gssm.search import search as find

    box = check_bbox(bbox)
    items = find(box, datetime, catalog=catalog, max_cloud_cover=max_cloud_cover, window=window)
    if measure:
        with progress("reading cloud masks"):
            table = match(items, window=window, measure=True)
    else:
        table = match(items, window=window)
    out.print(_matchup_table(table))
    mapped = int((table["reason"] == "").sum())
    out.print(f"{mapped} of {len(table)} acquisitions can be mapped", highlight=False)
    if save is not None:
        save_new(save, table.to_csv)


@app.command()
@sentences
def predict(
    bbox: BboxOption,
    datetime: DatetimeOption,
    store: Annotated[str, typer.Option("--out", help="Zarr store to write: path or URL.")],
    catalog: Catalog = "planetary-computer",
    model: ModelOption = "default",
    members: Annotated[bool, typer.Option(help="Also write every member of the ensemble.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the store if it exists.")] = False,
    max_cloud_cover: Clouds = 60,
    window: Window = "3D",
    resolution: Annotated[float, typer.Option(help="Pixel size in metres.")] = 10,
    past: Annotated[
        str, typer.Option("--history", help="Dry and wet references, from `gssm history`.")
    ] = "",
    max_failed: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of pixels whose images fail to read.")
    ] = 1,
) -> None:
    """Map soil moisture for every radar date that has a clear Sentinel-2 partner.

    Example: `gssm predict --catalog CATALOGUE --bbox 3.0195 50.8132 3.0282 50.8187
    --datetime 2018-05-01/2018-09-30 --out flanders.zarr`
    """
    from gssm.align import open_cube
    from gssm.archive.places import refuse_existing
    from gssm.archive.store import to_zarr
    from gssm.grid import make_grid
    from gssm.matchups import UNREADABLE_MASKS, matched_items
    from gssm.matchups import matchups as match
    from gssm.models.bundle import resolve
    from gssm.predict import predict as score
    from gssm.request import check_bbox
    from gssm.search import search as find

    box = check_bbox(bbox)
    refuse_existing(store, overwrite)
    make_grid(box, resolution)
    loaded = resolve(model).load()
    references, level = _references(past, loaded), loaded.spec.level
    items = find(
        box,
        datetime,
        catalog=catalog,
        level=level,
        max_cloud_cover=max_cloud_cover,
        window=window,
    )
    with progress("reading cloud masks"):
        table = match(items, window=window, measure=True)
    mapped = int((table["reason"] == "").sum())
    out.print(f"{mapped} of {len(table)} radar acquisitions can be mapped", highlight=False)
    for time, reason in table.loc[table["reason"] != "", "reason"].items():
        out.print(f"  left out {time:%Y-%m-%d %H:%M}: {reason}", highlight=False, style="dim")
    if not mapped and (table["reason"] == UNREADABLE_MASKS).any():
        raise errors.ReadError(
            "no cloud mask of Sentinel-2 could be read, so nothing can be mapped; check the files "
            "or URLs of the items."
        )
    if not mapped:
        raise errors.EmptySearchError(
            "no radar acquisition has a clear Sentinel-2 partner; widen the dates, "
            "--window or --max-cloud-cover."
        )
    cube = open_cube(matched_items(items, table), bbox=box, resolution=resolution, window=window)
    if references is not None:
        place = ("--catalog", str(catalog), "--bbox", *bbox, "--resolution", f"{resolution:g}")
        cube = _with_references(cube, references, past, place)
    with progress("mapping"):
        product = score(cube, model, members=members)
        to_zarr(product, store, overwrite=overwrite, max_failed=max_failed)
    _report(store)


def _references(store: str, model: Any) -> Any:
    import xarray as xr

    from gssm.archive.places import store_of
    from gssm.models.ensemble import OF_THE_PAST

    if not store:
        return None
    if OF_THE_PAST.isdisjoint(model.spec.features):
        warnings.warn(
            f"the model reads no references of the past (its spec is {model.spec.name!r}), so "
            "--history changes nothing.",
            errors.GssmWarning,
            stacklevel=2,
        )
    try:
        return xr.open_zarr(store_of(store), consolidated=False)
    except Exception as error:  # each kind of store has errors of its own
        raise errors.RequestError(
            f"there are no references at {store} ({type(error).__name__}); make them with "
            "`gssm history`, or leave --history out."
        ) from error


def _with_references(cube: Any, references: Any, store: str, place: Sequence[str]) -> Any:
    """Put references beside a cube; what to do where they do not fit is a command here."""
    from gssm.history import with_history

    try:
        return with_history(cube, references)
    except errors.CubeError as error:
        cause = str(error).partition("; ")[0]
        raise errors.CubeError(
            f"{cause}; make the references in {store} anew with `gssm history "
            f"{shlex.join(place)} --datetime <a year or more> --out <store>`."
        ) from error


@app.command()
@sentences
def history(
    bbox: BboxOption,
    datetime: DatetimeOption,
    store: Annotated[str, typer.Option("--out", help="Zarr store to write: path or URL.")],
    catalog: Catalog = "planetary-computer",
    overwrite: Annotated[bool, typer.Option(help="Replace the store if it exists.")] = False,
    max_cloud_cover: Clouds = 60,
    window: Window = "3D",
    resolution: Annotated[float, typer.Option(help="Pixel size in metres.")] = 10,
) -> None:
    """Compute the dry and wet references of a place, once, from a year of images or more.

    Give the store to `gssm predict --history`, with the same box and resolution.
    """
    from gssm.archive.places import refuse_existing
    from gssm.archive.store import to_zarr
    from gssm.grid import make_grid
    from gssm.history import history as refer
    from gssm.request import check_bbox
    from gssm.search import search as find

    box = check_bbox(bbox)
    refuse_existing(store, overwrite)
    make_grid(box, resolution)
    items = find(box, datetime, catalog=catalog, max_cloud_cover=max_cloud_cover, window=window)
    with progress("reading the past"):
        references = refer(items, bbox=box, resolution=resolution, window=window)
        to_zarr(references, store, overwrite=overwrite)
    out.print(
        f"wrote {store}: references from {references.attrs['acquisitions']} acquisitions",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
@sentences
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("gssm-demo"),
    size: Annotated[int, typer.Option(min=20, help="Side of the scene in pixels of 10 m.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
) -> None:
    """Run the whole line, offline, on a simulated scene whose moisture is known."""
    from gssm.demo import run_demo

    with progress("mapping"):
        result = run_demo(folder, size=size, seed=seed)
    _print_summary(result.table)
    out.print(
        f"store    {result.store}\npicture  {result.picture}\n"
        "r, bias and ubrmse (m3 m-3) compare with the simulated truth. The model learnt from "
        "real stations and never saw a simulation: this shows that the line works, not how "
        "good the product is.",
        highlight=False,
        soft_wrap=True,
    )


def _report(store: str) -> None:
    import xarray as xr

    from gssm.archive.places import store_of
    from gssm.summary import summarize

    with xr.open_zarr(store_of(store), consolidated=False) as product:
        _print_summary(summarize(product))
    out.print(f"wrote {store}", highlight=False, soft_wrap=True)


def _print_summary(table: Any) -> None:
    """Print a line per date, then what share of all pixels carries each flag."""
    columns = [c for c in ("pixels", "mean", "sd", "r", "bias", "ubrmse") if c in table]
    out.print(frame_table(table[columns].round(3)))
    flags = table.drop(columns=[*columns, "valued"]).mean()
    shares = ", ".join(
        f"{name} {share:.1%}" if share >= 0.0005 else f"{name} <0.1%"
        for name, share in flags.items()
    )
    out.print(
        f"{table['valued'].mean():.1%} of the pixels have a value; flags: {shares or 'none'}",
        highlight=False,
        soft_wrap=True,
    )


def _matchup_table(table: Any) -> Table:
    shown = Table(
        Column("time (UTC)", no_wrap=True),
        "orbit",
        "Sentinel-2 days",
        "Landsat days",
        "clear",
        "no map because",
    )
    for time, row in table.iterrows():
        shown.add_row(
            f"{time:%Y-%m-%d %H:%M}",
            orbit_label(row["relative_orbit"], row["orbit_state"]),
            ", ".join(f"{d:+.1f}" for d in row["sentinel2_offset_days"]),
            ", ".join(f"{d:+.1f}" for d in row["landsat_offset_days"]),
            f"{row['sentinel2_usable']:.0%}" if "sentinel2_usable" in row else "",
            row["reason"],
        )
    return shown


if __name__ == "__main__":
    sys.exit(app())
