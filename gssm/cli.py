"""The command line: ``gssm search | matchups | predict | train | evaluate | demo``."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from threading import current_thread, main_thread
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gssm import errors

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Surface soil moisture at 10 m from Sentinel-1, Sentinel-2, Landsat and elevation.\n\n"
        "Start with **gssm demo** (offline, simulated). For a real place:\n"
        "**gssm matchups** shows the available dates, **gssm predict** maps them to Zarr.\n\n"
        "Exit codes: 0 done; 1 an error in gssm itself; 2 a request that cannot be served; "
        "3 nothing found; 4 the server did not answer; 5 reading or writing failed; "
        "6 a model or training table was refused."
    ),
)
# Paths and messages may hold brackets, which are not markup.
out = Console(markup=False)
err = Console(stderr=True, markup=False)

# The first class that fits decides; subclasses stand before their parents.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.CatalogUnreachableError, 4),
    (errors.EmptySearchError, 3),
    (errors.BundleError, 6),
    (errors.SamplesError, 6),
    (errors.ReadError, 5),
    (errors.StoreWriteError, 5),
    (errors.GssmError, 2),
)

Catalog = Annotated[
    str,
    typer.Option(
        help="planetary-computer, earth-search, the URL of a STAC API, or a folder of "
        "ItemCollections."
    ),
]
BboxOption = Annotated[
    tuple[str, str, str, str],  # words: gssm's own check names what is no number
    typer.Option(help="West, south, east, north in degrees.", metavar="W S E N"),
]
DatetimeOption = Annotated[
    str, typer.Option("--datetime", help="2018-05-01/2018-09-30, a day or a month (UTC).")
]
Clouds = Annotated[
    float, typer.Option(help="Leave out optical scenes cloudier than this, in percent.")
]
Window = Annotated[str, typer.Option(help="Largest time between radar and optical image.")]
ModelOption = Annotated[str, typer.Option(help="default, or the path of a bundle.")]


def _sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Turn gssm's errors and warnings into one line each and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings(), _ended_by_sigterm():
            warnings.showwarning = _show_warning
            warnings.simplefilter("default", errors.GssmWarning)
            try:
                command(*args, **kwargs)
            except errors.GssmError as error:
                _tell("error", "bold red", error)
                code = next(c for kind, c in EXIT_CODES if isinstance(error, kind))
                raise typer.Exit(code) from error

    return run


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let a batch system's SIGTERM end a command like Ctrl-C: what was begun is removed."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, errors.GssmWarning):
        _tell("warning", "yellow", message)


def _tell(label: str, style: str, message: Any) -> None:
    err.print(Text.assemble((f"{label}:", style), f" {message}"), soft_wrap=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        from gssm import __version__

        out.print(f"gssm {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
@_sentences
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
        _save(save, lambda file: items.save_object(str(file)))
        out.print(f"saved {len(items)} items to {save}", highlight=False)


@app.command()
@_sentences
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
        with _progress("reading cloud masks"):
            table = match(items, window=window, measure=True)
    else:
        table = match(items, window=window)
    out.print(_matchup_table(table))
    mapped = int((table["reason"] == "").sum())
    out.print(f"{mapped} of {len(table)} acquisitions can be mapped", highlight=False)
    if save is not None:
        _save(save, table.to_csv)


@app.command()
@_sentences
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
) -> None:
    """Map soil moisture for every radar date that has a clear Sentinel-2 partner.

    Example: `gssm predict --catalog CATALOGUE --bbox 3.0195 50.8132 3.0282 50.8187
    --datetime 2018-05-01/2018-09-30 --out flanders.zarr`
    """
    from gssm.align import open_cube
    from gssm.archive.store import refuse_existing, to_zarr
    from gssm.grid import make_grid
    from gssm.matchups import UNREADABLE_MASKS, matched_items
    from gssm.matchups import matchups as match
    from gssm.models.bundle import resolve
    from gssm.predict import predict as score
    from gssm.request import check_bbox
    from gssm.search import search as find

    box = check_bbox(bbox)
    refuse_existing(store, overwrite)
    resolve(model)
    make_grid(box, resolution)
    items = find(box, datetime, catalog=catalog, max_cloud_cover=max_cloud_cover, window=window)
    with _progress("reading cloud masks"):
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
    with _progress("mapping"):
        to_zarr(score(cube, model, members=members), store, overwrite=overwrite)
    _report(store)


@app.command()
@_sentences
def train(
    samples: Annotated[Path, typer.Argument(help="Table of station samples (Parquet or CSV).")],
    bundle: Annotated[Path, typer.Option("--out", help="Folder of the new model bundle.")],
    spec: Annotated[str, typer.Option(help="Feature spec: l2 or paper33.")] = "l2",
    preset: Annotated[str, typer.Option(help="Model sizes: default or paper.")] = "default",
    networks: Annotated[
        str, typer.Option(help="Train on these networks only, comma separated.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Two runs with one seed give the same bundle.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace the bundle if it exists.")] = False,
) -> None:
    """Train the ensemble on station samples and save it with its held-out scores.

    Example: `gssm train stations_l2.parquet --networks USCRN,SCAN --out my-model`
    """
    from gssm.archive.store import refuse_existing
    from gssm.models.files import MANIFEST
    from gssm.training.samples import read_samples
    from gssm.training.train import train as fit

    zipped = (bundle.name,) if bundle.suffix.lower() == ".zip" else ()
    refuse_existing(bundle, overwrite, (MANIFEST, *zipped))
    table = read_samples(samples)
    wanted = [name.strip() for name in networks.split(",") if name.strip()] or None
    with err.status("training") as status:
        model = fit(
            table, spec=spec, preset=preset, networks=wanted, seed=seed, progress=status.update
        )
    model.save(bundle, overwrite=overwrite)
    out.print(f"saved {bundle}", highlight=False)
    for skill in model.provenance["skill"]:
        _print_skill(skill)


@app.command()
@_sentences
def evaluate(
    samples: Annotated[Path, typer.Argument(help="Table of station samples (Parquet or CSV).")],
    model: ModelOption = "default",
    save: Annotated[Path | None, typer.Option("--out", help="Also save the table as CSV.")] = None,
) -> None:
    """Score a model on station samples, pooled and per station.

    Rows that the model was trained on are scored too: the model's own manifest has
    the scores on stations held out.
    """
    from gssm.models.bundle import load_model
    from gssm.training.evaluate import evaluate as score
    from gssm.training.samples import read_samples

    table = score(load_model(model), read_samples(samples))
    out.print(_frame_table(table.round(4)))
    if save is not None:
        _save(save, table.to_csv)


@app.command()
@_sentences
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("gssm-demo"),
    size: Annotated[int, typer.Option(min=20, help="Side of the scene in pixels of 10 m.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
) -> None:
    """Run the whole line, offline, on a simulated scene whose moisture is known."""
    from gssm.demo import run_demo

    with _progress("mapping"):
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


def _progress(label: str) -> Any:
    from gssm.progress import TaskProgress

    return TaskProgress(label, err)


def _report(store: str) -> None:
    import xarray as xr

    from gssm.summary import summarize

    with xr.open_zarr(store, consolidated=False) as product:
        _print_summary(summarize(product))
    out.print(f"wrote {store}", highlight=False)


def _print_skill(skill: dict[str, Any]) -> None:
    import pandas as pd

    columns = ["N", "r2", "rmse", "bias", "station_r", "station_ubrmse"]
    out.print(f"held out by {skill['protocol']}, {skill['folds']} folds: {skill['says']}")
    out.print(_frame_table(pd.DataFrame(skill["scores"]).T[columns].round(4)))


def _print_summary(table: Any) -> None:
    """Print a line per date, then what share of all pixels carries each flag."""
    columns = [c for c in ("pixels", "mean", "sd", "r", "bias", "ubrmse") if c in table]
    out.print(_frame_table(table[columns].round(3)))
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


def _save(file: Path, write: Callable[[Path], Any]) -> None:
    from gssm.archive.store import writing

    with writing(file):
        if file.exists():
            raise errors.StoreExistsError(f"{file} exists already; give another path with --out.")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise


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
            f"{row['relative_orbit']} {row['orbit_state'][:4]}",
            ", ".join(f"{d:+.1f}" for d in row["sentinel2_offset_days"]),
            ", ".join(f"{d:+.1f}" for d in row["landsat_offset_days"]),
            f"{row['sentinel2_usable']:.0%}" if "sentinel2_usable" in row else "",
            row["reason"],
        )
    return shown


def _frame_table(frame: Any) -> Table:
    table = Table(Column(str(frame.index.name or ""), no_wrap=True), *map(str, frame.columns))
    for index, row in frame.iterrows():
        label = f"{index:%Y-%m-%d %H:%M}" if hasattr(index, "strftime") else str(index)
        table.add_row(label, *(f"{v:g}" if isinstance(v, float) else str(v) for v in row))
    return table


if __name__ == "__main__":
    sys.exit(app())
