"""News of predictions, for the clients that watch them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

from gssm.web.jobs_records import Record
from gssm.web.problems import TooManyRequestsError

# Seconds between looks; streams at once, of one client and of all; when to ask again.
NEWS_SECONDS = 0.2
MOST_WATCHED, MOST_WATCHING = 20, 500
AGAIN_SECONDS = 30


class Watching:
    """Streams of news; used by the event loop alone.

    Looking now and then is all: of a few hundred streams each look is some microseconds, and
    no thread has to wake the loop.

    Parameters
    ----------
    look
        Returns a job as it is now; None where there is none any more.
    """

    def __init__(self, look: Callable[[str], Record | None]) -> None:
        self._look = look
        self._streams: Counter[str] = Counter()

    def refuse(self, client: str) -> None:
        """Refuse one more stream.

        Raises
        ------
        TooManyRequestsError
            There are too many.
        """
        if self._streams[client] >= MOST_WATCHED or self._streams.total() >= MOST_WATCHING:
            raise TooManyRequestsError(
                "too many predictions are watched at once; close some, or ask for them now and "
                "then.",
                AGAIN_SECONDS,
            )

    async def stream(
        self, name: str, client: str, is_open: Callable[[], bool]
    ) -> AsyncIterator[Record]:
        """Yield a job whenever it has changed, until it has ended or is not there any more."""
        last: Record | None = None
        self._streams[client] += 1
        try:
            while (record := self._look(name)) is not None:
                if record != last:
                    yield record
                last = record
                if record.is_final or not is_open():
                    return
                await asyncio.sleep(NEWS_SECONDS)
        finally:
            self._streams[client] -= 1
            self._streams += Counter()  # without clients that have none left
