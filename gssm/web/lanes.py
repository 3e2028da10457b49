"""Threads for blocking work: a bounded number for each kind, so that none starves another."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gssm.errors import GssmError
from gssm.web.settings import Limits

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")


class BusyError(GssmError):
    """All threads of a kind are taken, and as many requests wait as may."""


class LateError(GssmError, TimeoutError):
    """The answer took longer than it may."""


class CrowdedError(GssmError):
    """One client has as much under way as one may."""


class GivenUpError(Exception):
    """Nobody waits for the answer any more; raised in the thread that works on it."""


class Watch:
    """Tells work in a thread that nobody waits for it any more."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def end(self) -> None:
        """Let the work end at its next `check`."""
        self._over.set()

    def check(self) -> None:
        """Raise `GivenUpError` once nobody waits."""
        if self._over.is_set():
            raise GivenUpError


class Lane:
    """A bounded number of threads, with a bounded number of requests before them.

    Parameters
    ----------
    name
        Of its threads.
    threads
        At most; they are started when they are needed.
    waiting
        Requests that may wait for one.
    seconds
        From the request to the answer.
    """

    def __init__(self, name: str, threads: int, waiting: int, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        self._room, self._taken = threads + waiting, 0
        self._clients: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns, called in a thread.

        Raises
        ------
        BusyError
            Too many wait already.
        LateError
            It took too long; the thread works on until the function returns.
        """
        return await self._run(partial(function, *arguments), self._leave, self._enter)

    async def run_watched(
        self, request: Request, function: Callable[..., T], *arguments: Any, held: bool = False
    ) -> T:
        """As `run`, of a function that ends early when nobody waits for it.

        Parameters
        ----------
        request
            Of the client that waits.
        function
            Its first parameter is a `Watch`, which it checks.
        arguments
            The rest.
        held
            The caller is within `place`.
        """
        watch = Watch()
        gone = asyncio.create_task(_gone(request, watch))
        enter, leave = (None, None) if held else (self._enter, self._leave)
        try:
            return await self._run(partial(function, watch, *arguments), leave, enter)
        finally:
            watch.end()
            gone.cancel()

    async def _run(
        self,
        call: Callable[[], T],
        leave: Callable[[], None] | None,
        enter: Callable[[], None] | None,
    ) -> T:
        if enter is not None:
            enter()
        if self._pool is None:  # at the first request, and at the first after the end
            prefix = f"gssm-{self.name}"
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=prefix)
        work = self._pool.submit(contextvars.copy_context().run, call)
        if leave is not None:
            work.add_done_callback(lambda _: leave())
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.wrap_future(work)
        except TimeoutError as error:
            if work.done() and not work.cancelled():
                raise  # of the function itself
            raise LateError(
                f"the answer took longer than {self.seconds:g} s; ask for less (a smaller area, "
                "a shorter period), or again later."
            ) from error
        finally:
            work.cancel()  # if it has not begun

    def _enter(self) -> None:
        with self._counting:
            if self._taken >= self._room:
                raise BusyError(f"the server is busy ({self.name}); ask again in a moment.")
            self._taken += 1

    def _leave(self) -> None:
        with self._counting:
            self._taken -= 1

    @contextlib.contextmanager
    def place(self, client: str, most: int) -> Iterator[None]:
        """Take a place for longer than a call, such as until the answer is sent.

        Parameters
        ----------
        client
            Who asks.
        most
            Places that one client may have.

        Raises
        ------
        CrowdedError
            The client has as many.
        BusyError
            All are taken.
        """
        with self._counting:
            if self._clients[client] >= most:
                raise CrowdedError(
                    f"{most} {self.name} of this address are under way; wait for one to end."
                )
        self._enter()
        with self._counting:
            self._clients[client] += 1
        try:
            yield
        finally:
            with self._counting:
                self._clients[client] -= 1
                self._clients += Counter()  # drops those who have none
            self._leave()

    def close(self) -> None:
        """Drop what waits, and let the threads end."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


async def _gone(request: Request, watch: Watch) -> None:
    """End a watch when the client hangs up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    watch.end()


@dataclass(frozen=True)
class Lanes:
    """Lanes of one server: tiles, reads (dates, points), areas, catalogue and downloads.

    Statistics and series of areas may take as long as an answer may: they have threads of their
    own, so that a few of them do not keep everybody from dates and points.
    """

    tiles: Lane
    reads: Lane
    areas: Lane
    catalog: Lane
    downloads: Lane

    @classmethod
    def of(cls, limits: Limits) -> Lanes:
        """Make the lanes that limits describe."""
        waiting, seconds = limits.waiting, limits.request_seconds
        return cls(
            tiles=Lane("tiles", limits.tile_threads, limits.tiles_waiting, limits.tile_seconds),
            reads=Lane("reads", limits.read_threads, waiting, seconds),
            areas=Lane("areas", limits.area_threads, waiting, seconds),
            catalog=Lane("catalog", limits.catalog_threads, waiting, seconds),
            downloads=Lane(
                "downloads",
                limits.download_threads,
                limits.downloads_waiting,
                limits.download_seconds,
            ),
        )

    def close(self) -> None:
        """Drop what waits, and let the threads end."""
        for lane in (self.tiles, self.reads, self.areas, self.catalog, self.downloads):
            lane.close()
