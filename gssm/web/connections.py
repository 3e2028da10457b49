"""Connections that bring no request are closed: uvicorn waits for the first line for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds between two looks, of which both find the head of a request unfinished.
HEAD_SECONDS = 15.0


class Connection(H11Protocol):
    """HTTP/1.1 by h11, which reads heads of 64 kB at most, with an end of its patience.

    Who opens connections and sends nothing, or a byte at times, would else hold as many files
    of the server as it may open. Bodies and answers have times of their own
    (`gssm.web.settings.Limits`).
    """

    _timer: asyncio.TimerHandle | None = None
    _seen: Any = None

    def connection_made(self, transport: Any) -> None:
        """Begin to look."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _begin(self) -> None:
        # Which request it is that does not come; None is the first.
        self._seen = self.cycle if self.conn.their_state is h11.IDLE else self
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)

    def _look(self) -> None:
        if self.conn.their_state is h11.IDLE and self.cycle is self._seen:
            self.transport.close()
        else:
            self._begin()
