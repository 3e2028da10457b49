"""HTTP connections that wait for the head of an answer so long and no longer.

The time-outs of sockets begin anew with every byte: a server that sends its headers a byte
at a time would hold a thread for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any


def pools_with_deadline(seconds: float) -> dict[str, Any]:
    """Return urllib3's pools by scheme, whose connections give up after so many seconds."""
    from urllib3.poolmanager import pool_classes_by_scheme as known

    return {scheme: _pool_with_deadline(pool, seconds) for scheme, pool in known.items()}


def _pool_with_deadline(pool: Any, seconds: float) -> Any:
    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self, *args: Any, **options: Any) -> Any:
            late = threading.Event()
            timer = threading.Timer(seconds, _cut, (self.sock, late))
            timer.daemon = True
            timer.start()
            try:
                response = super().getresponse(*args, **options)
            finally:
                timer.cancel()
            if late.is_set():  # what was cut looks like an end of the headers
                response.close()
                raise TimeoutError
            return response

    return type("Pool", (pool,), {"ConnectionCls": Connection})


def _cut(connected: Any, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        # Of an encrypted one the connection below: its own would take the key from the reader.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
