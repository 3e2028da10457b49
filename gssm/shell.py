"""What every command of the shell shares: the application, options, errors, tables."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from time import sleep
from typing import Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gssm import deadline, errors

# The order of the help: from the first look to a model of one's own.
COMMANDS = (
    *("demo", "search", "matchups", "predict", "history"),
    *("samples", "train", "evaluate", "compare", "check"),
    *("archive", "update", "export", "series", "serve"),
)


class _Ordered(typer.core.TyperGroup):
    """Commands in the order of a user's day, not of the modules that define them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return sorted(super().list_commands(ctx), key=COMMANDS.index)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line."""
        return super().parse_args(ctx, list(_spread(args)))


# What takes several numbers, and what they are called in the help.
BOX_WORDS, POINT_WORDS = "W S E N", "LON LAT"
NUMBERS = {"--bbox": BOX_WORDS, "--point": POINT_WORDS}


def _spread(args: Sequence[str]) -> Iterator[str]:
    """Part numbers that came as one word, with commas or in quotation marks."""
    rest = deque(args)
    while rest:
        word = rest.popleft()
        name, is_one, value = word.partition("=")
        if name not in NUMBERS or not (is_one or rest):
            yield word
            continue
        given = value if is_one else rest.popleft()
        parts, wanted = re.split(r"[,\s]+", given.strip()), NUMBERS[name].split()
        if len(parts) > 1 and "" not in parts and len(parts) != len(wanted):
            raise typer.BadParameter(
                f"{given!r} is {len(parts)} values; give {len(wanted)} numbers with blanks "
                f"between them, as in {name} {NUMBERS[name]}."
            )
        yield from (name, *(parts if len(parts) == len(wanted) else [given]))


class _Shell(typer.Typer):
    """The application; to call it is all that its process is for."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command of the process's arguments."""
        with _ended_by_signals():
            return super().__call__(*args, **kwargs)


app = _Shell(
    cls=_Ordered,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Surface soil moisture at 10 m from Sentinel-1, Sentinel-2, Landsat and elevation.\n\n"
        "Start with **gssm demo** (offline, simulated). For a real place:\n"
        "**gssm matchups** shows the available dates, **gssm predict** maps them to Zarr. "
        "**gssm serve** shows a map in the browser. "
        "To train a model of your own: **gssm samples**, **gssm train**, **gssm evaluate**.\n\n"
        "Exit codes: 0 done; 1 an error in gssm itself; 2 a request that cannot be served; "
        "3 nothing found; 4 the server did not answer; 5 reading or writing failed; "
        "6 a model or training table was refused; 130 and 143 ended by Ctrl-C or SIGTERM."
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
    (errors.ArchiveError, 5),
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
    typer.Option(help="West, south, east, north in degrees.", metavar=BOX_WORDS),
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
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("default", errors.GssmWarning)
            try:
                command(*args, **kwargs)
            except errors.GssmError as error:
                _tell("error", "bold red", error)
                code = next(c for kind, c in EXIT_CODES if isinstance(error, kind))
                raise typer.Exit(code) from error

    return run


# Seconds that threads have to end by themselves after a signal, and what is left to do at exit.
GRACE_SECONDS = 1.5
EXIT_SECONDS = 1.0
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C and a batch system's SIGTERM end the process: soon, and with nothing half-written.

    What someone else set for a signal stays, above all that background jobs ignore Ctrl-C; and
    so does all where the process goes on after a command, as an interactive one does.
    """
    received: list[int] = []

    def end(number: int, _: Any) -> None:
        received.append(number)
        deadline.end()
        raise KeyboardInterrupt

    def leave() -> None:
        if received:
            _exit(128 + received[0])

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) in _DEFAULTS]
    if current_thread() is not main_thread() or hasattr(sys, "ps1"):
        numbers = []
    # The last of the exit functions: libraries may wait for their threads for ever after it.
    atexit.register(leave)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if received else handler)
        if received:  # what the command began is removed by now
            code = 128 + received[0]
            _leave_soon(code)
            sys.exit(code)


def _leave_soon(code: int) -> None:
    """End the process though threads sit in reads that nothing interrupts.

    Python waits for its threads at exit, and GDAL for a server that hangs a minute. Where all
    have ended in time, Python's exit functions run, and the last of them ends the process.
    """
    joined = Event()
    atexit.register(joined.set)  # what was registered last is run first

    def finish() -> None:
        if joined.wait(GRACE_SECONDS):
            return
        atexit.unregister(joined.set)
        _stop_waiting_for_pools()
        # Above all, what threads wrote after it had been removed is removed again.
        atexit._run_exitfuncs()

    def leave() -> None:
        if joined.wait(GRACE_SECONDS):
            return
        sleep(EXIT_SECONDS)
        _exit(code)

    for last in (finish, leave):
        Thread(target=last, daemon=True).start()


def _exit(code: int) -> None:
    """End the process now."""
    _stop_children()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _stop_waiting_for_pools() -> None:
    """Take from the exit functions those by which Dask waits for its threads."""
    threaded = sys.modules.get("dask.threaded")
    if threaded is None:
        return
    pools = [pool for of_thread in threaded.pools.values() for pool in of_thread.values()]
    for pool in (threaded.default_pool, *pools):
        if pool is not None:
            atexit.unregister(pool.shutdown)


def _stop_children() -> None:
    """End the processes of process pools, which would wait for work for ever."""
    processes = sys.modules.get("multiprocessing")
    for child in processes.active_children() if processes is not None else ():
        child.terminate()


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
    from gssm.archive.places import writing

    with writing(file):
        if file.exists():
            raise errors.StoreExistsError(f"{file} exists already; give another path with --out.")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise


DIRECTIONS = {"ascending": "asc", "descending": "desc"}


def orbit_label(number: int, direction: str) -> str:
    """Return number and direction of an orbit, short enough for a table."""
    return f"{number} {DIRECTIONS.get(direction, direction)}".rstrip()


def frame_table(frame: Any) -> Table:
    """Lay a DataFrame out for the terminal."""
    table = Table(Column(str(frame.index.name or ""), no_wrap=True), *map(str, frame.columns))
    for index, row in frame.iterrows():
        label = f"{index:%Y-%m-%d %H:%M}" if hasattr(index, "strftime") else str(index)
        table.add_row(label, *(f"{v:g}" if isinstance(v, float) else str(v) for v in row))
    return table
