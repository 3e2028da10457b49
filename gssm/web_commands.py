"""The shell's command for the web: ``gssm serve``."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import re
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssm import errors
from gssm.shell import app, err, out, sentences

if TYPE_CHECKING:
    from gssm.web.demo import Demo, Report
    from gssm.web.settings import Settings

# Modules of the extra "web", by the names of their packages.
NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "rio_tiler": "rio-tiler"}
# Seconds that answers under way have at the end; events of a prediction never end by themselves.
END_SECONDS = 3
BACKLOG = 512
LOGGERS = ("gssm", "uvicorn")
# Names under which this machine reaches itself, as requests have them.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HOST_NAME = re.compile(r"(?i:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])", re.ASCII)
DEMO_TITLE = "gssm: simulated, no real place"


Archives = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder or s3://…, or NAME=URL; several times for several. By default a simulated "
        "one, which the first start makes in a minute or two."
    ),
]
CatalogName = Annotated[
    str | None,
    typer.Option(help="Of predictions, as of `gssm search`; by default the archive's."),
]
Scheduler = Annotated[
    str,
    typer.Option(help="Dask scheduler of predictions; by default the cores of this machine."),
]
HostNames = Annotated[
    list[str] | None,
    typer.Option(
        help="Name that the server has for its users, such as soil.example.org; several times "
        "for several. Other names are refused; by default those of this machine, and with "
        "another --host none is."
    ),
]
Proxies = Annotated[
    list[str] | None,
    typer.Option(
        help="Address or network of a proxy before the server, such as 127.0.0.1: whom it names "
        "in X-Forwarded-For is the client that limits count."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of predictions, downloads and the simulated archive; by default in "
        "~/.cache/gssm."
    ),
]


@app.command()
@sentences
def serve(
    archive: Archives = None,
    catalog: CatalogName = None,
    scheduler: Scheduler = "",
    model: Annotated[str, typer.Option(help="Of predictions: default, or a bundle.")] = "default",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    host_name: HostNames = None,
    proxy: Proxies = None,
    data: Data = None,
    browse: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = False,
    demo_size: Annotated[int | None, typer.Option(hidden=True, min=20)] = None,
    demo_dates: Annotated[int | None, typer.Option(hidden=True, min=4)] = None,
) -> None:
    """Show archives as a map in the browser: look, ask, predict, download.

    Without `--archive` it shows a simulated landscape. Ctrl-C ends it. Example: `gssm serve
    --archive flanders --open`
    """
    _refuse_missing()
    with _listen(host, port) as listening:
        _warn_open(listening)
        hosts, proxies = _hosts(listening, host, host_name or []), _proxies(proxy or [])
        size = (demo_size or 0, demo_dates or 0)
        settings = _settings(archive or [], catalog, scheduler, model, data, size)
        settings = replace(settings, hosts=hosts, trusted_proxies=proxies)
        url = _url(listening)

        def tell() -> None:
            names = ", ".join(settings.archives)
            out.print(f"serving {names} at {url} (Ctrl-C ends it)", highlight=False, soft_wrap=True)
            if browse:
                _browse(url)

        _run(settings, listening, tell)


def _refuse_missing() -> None:
    """Refuse to begin without what only this command needs."""
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise errors.RequestError(
            f"the web server needs {', '.join(missing)}, which this installation of gssm has not; "
            'add it with `pip install "gssm[web]"`.'
        )


def _listen(host: str, port: int) -> socket.socket:
    """Take a port before anything is made ready; who comes earlier waits."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise errors.RequestError(
            f"{host!r} is no address ({error.strerror or error}); use 127.0.0.1, which this "
            "machine alone reaches, or that of one of its networks with --host."
        ) from error
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        # What is bound, but not listened at, another program could still take.
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise errors.RequestError(
            f"port {port} of {host} cannot be used ({(error.strerror or str(error)).lower()}); "
            "choose another one with --port, or 0 for any that is free."
        ) from error
    return found


def _is_loopback(address: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    return False


def _warn_open(listening: socket.socket) -> None:
    """Tell where others can reach the server that there is no login."""
    address = listening.getsockname()[0]
    if not _is_loopback(address):
        warnings.warn(
            f"everybody who reaches {address} can read these archives and start predictions, as "
            "there is no login; put a proxy with a login and TLS before it, or use --host "
            "127.0.0.1.",
            errors.GssmWarning,
            stacklevel=2,
        )


def _hosts(listening: socket.socket, host: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names that requests may have for the server; none is any.

    A page of somebody else could lead its own name to this machine, and would then read and
    order as its user (DNS rebinding): where only this machine reaches the server, its names are
    known. Those of a network are not.
    """
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise errors.RequestError(
                f"{name!r} is no name of a server; give it without scheme, port and path, such as "
                "soil.example.org."
            )
    if not names and not _is_loopback(listening.getsockname()[0]):
        return ()
    own = (f"[{host}]" if ":" in host else host, *LOOPBACK)
    return tuple(dict.fromkeys((*names, *own)))


def _proxies(proxies: Sequence[str]) -> tuple[str, ...]:
    """Addresses of proxies, checked before anything is made ready."""
    from gssm.web.limits import networks_of

    networks_of(proxies)
    return tuple(proxies)


def _url(listening: socket.socket) -> str:
    """Return the address of the page, for this machine."""
    address, port, *_ = listening.getsockname()
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        address = "localhost"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _settings(
    archive: Sequence[str],
    catalog: str | None,
    scheduler: str,
    model: str,
    data: Path | None,
    demo: tuple[int, int],
) -> Settings:
    """Return what the server is told; makes the simulated archive where there is no other."""
    from gssm.archive.recipe import Recipe, stated
    from gssm.web.demo import ID, cache_folder
    from gssm.web.settings import Public, Settings

    recipe = stated(Recipe(model=model), {"catalog": catalog, "model": model})
    if archive:
        archives, public = _archives(archive), Public()
    else:
        made = _made(data or cache_folder(), *demo)
        archives, public = {ID: str(made.archive)}, Public(title=DEMO_TITLE)
    return Settings(
        archives,
        catalog=None if catalog is None else recipe.catalog,
        scheduler=scheduler or None,
        model=recipe.model,
        data=(data or cache_folder() / "web" / _name_of(archives)).expanduser().absolute(),
        public=public,
    )


def _name_of(archives: dict[str, str]) -> str:
    """Name of the folder of these archives: servers of others have others."""
    digest = sha256("\n".join(archives.values()).encode()).hexdigest()[:8]
    return f"{next(iter(archives))}-{digest}"


def _archives(words: Sequence[str]) -> dict[str, str]:
    """Addresses of archives by the names that they are served under, which are the last of each."""
    from gssm.archive.opening import find_archive
    from gssm.web.settings import DATASET_ID

    found: dict[str, str] = {}
    for word in words:
        name, is_named, url = word.partition("=")
        if not is_named or not DATASET_ID.fullmatch(name):
            url = word
            last = re.split(r"[/\\]", url.rstrip("/\\"))[-1].lower()
            name = re.sub(r"[^a-z0-9_-]+", "-", last).strip("-_")[:60] or "archive"
            others = (f"{name}-{number}" for number in range(2, len(words) + 2))
            name = name if name not in found else next(n for n in others if n not in found)
        if name in found:
            raise errors.RequestError(
                f"two archives are named {name!r}; give each a name of its own."
            )
        found[name] = find_archive(url).url
    return found


def _made(folder: Path, size: int, dates: int) -> Demo:
    """Find the simulated archive, or make it while a bar shows how far it is."""
    from gssm.web.demo import DATES, SIZE, find_demo, make_demo

    folder = folder.expanduser()
    found = find_demo(folder, size=size or SIZE, dates=dates or DATES)
    if found is not None:
        return found
    err.print(
        f"making the simulated archive in {folder}, once; it takes a minute or two",
        highlight=False,
        soft_wrap=True,
    )
    with _bar() as report:
        return make_demo(folder, size=size or SIZE, dates=dates or DATES, report=report)


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task("", total=None)

        def report(label: str, done: int, total: int) -> None:
            shown.update(task, description=label, completed=done, total=total or None)

        yield report


def _browse(url: str) -> None:
    """Open the page; a browser of the terminal must not hold the server."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _run(settings: Settings, listening: socket.socket, tell: Callable[[], None]) -> None:
    """Serve until a signal; it is raised again when all has ended, for `gssm.shell`."""
    import uvicorn

    from gssm.web.app import create_app
    from gssm.web.connections import Connection

    _log()
    application = create_app(settings)
    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whom to believe is the application's to know
        server_header=False,
        timeout_graceful_shutdown=END_SECONDS,
    )

    class Server(uvicorn.Server):
        """Starts and stops what belongs to the application, so that errors are sentences."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.stack = AsyncExitStack()
            lifespan = application.router.lifespan_context(application)
            await self.stack.enter_async_context(lifespan)
            await super().startup(sockets)
            tell()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # of what it cuts off
            await super().shutdown(sockets)
            await self.stack.aclose()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            with _signals(self):
                yield

    with suppress(KeyboardInterrupt):  # by the shell's handler, which ends the process
        Server(config).run([listening])


def _log() -> None:
    """Write what the server has to tell its keeper to standard error; Dask's is left out."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False


@contextmanager
def _signals(server: Any) -> Iterator[None]:
    """Let signals end a server, those that somebody ignores apart; the shell hears of them last."""
    received: list[int] = []

    def end(number: int, _: Any) -> None:
        received.append(number)
        server.should_exit = True
        server.force_exit = len(received) > 1

    numbers = (signal.SIGINT, signal.SIGTERM)
    heard = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
