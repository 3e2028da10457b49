"""What every command of the shell shares: the application, options, errors, tables."""

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
import typer.core
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gssm import errors

# The order of the help: from the first look to a model of one's own.
COMMANDS = (
    *("demo", "search", "matchups", "predict", "history"),
    *("samples", "train", "evaluate"),
)


class _Ordered(typer.core.TyperGroup):
    """Commands in the order of a user's day, not of the modules that define them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


app = typer.Typer(
    cls=_Ordered,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Surface soil moisture at 10 m from Sentinel-1, Sentinel-2, Landsat and elevation.\n\n"
        "Start with **gssm demo** (offline, simulated). For a real place:\n"
        "**gssm matchups** shows the available dates, **gssm predict** maps them to Zarr. "
        "To train a model of your own: **gssm samples**, **gssm train**, **gssm evaluate**.\n\n"
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
        help="planetary-computer, earth-search, cdse, the URL of a STAC API, a folder of "
        "ItemCollections, or a record of your own in YAML."
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


def sentences(command: Callable[..., None]) -> Callable[..., None]:
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


def progress(label: str) -> Any:
    """Show the progress of Dask's tasks while inside."""
    from gssm.progress import TaskProgress

    return TaskProgress(label, err)


def save_new(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file that is not there yet; all of it or nothing."""
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


def frame_table(frame: Any) -> Table:
    """Lay a DataFrame out for the terminal."""
    table = Table(Column(str(frame.index.name or ""), no_wrap=True), *map(str, frame.columns))
    for index, row in frame.iterrows():
        label = f"{index:%Y-%m-%d %H:%M}" if hasattr(index, "strftime") else str(index)
        table.add_row(label, *(f"{v:g}" if isinstance(v, float) else str(v) for v in row))
    return table
