"""Waits that end: with the time that an answer may take, and with the process.

The time-outs of sockets begin anew with every byte: a server that sends its headers a byte
at a time would hold a thread for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any


class EndedError(BaseException):
    """The process is about to end, and nobody waits for what was to be read.

    No `Exception`: a file that was not read for this reason is not one that cannot be read.
    """


class Ending:
    """An event that the handler of a signal can set.

    A handler comes in the midst of whatever its thread does, of a wait and of another handler
    too, where `threading.Event` would wait for its own lock for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._is_set = False

    def is_set(self) -> bool:
        """Tell whether it has been set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all who wait."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, so long at most, and tell whether it is."""
        with self._changed:
            return self._changed.wait_for(self.is_set, seconds)


# Only the shell sets it, and its process ends: in a notebook Ctrl-C ends a cell, no more.
_ended = Ending()


def end() -> None:
    """Let no thread wait for a server, or ask it again, from now on."""
    _ended.set()


def go_on() -> None:
    """Raise `EndedError` where the process is about to end."""
    if _ended.is_set():
        raise EndedError


def sleep(seconds: float) -> None:
    """Wait so long; raise `EndedError` as soon as the process is about to end."""
    if _ended.wait(seconds):
        raise EndedError


def pools_with_deadline(seconds: float) -> dict[str, Any]:
    """Return urllib3's pools by scheme, whose connections give up after so many seconds.

    Their responses tell ``connected``, the socket that `cut_after` takes.
    """
    from urllib3.poolmanager import pool_classes_by_scheme as known

    return {scheme: _pool_with_deadline(pool, seconds) for scheme, pool in known.items()}


def _pool_with_deadline(pool: Any, seconds: float) -> Any:
    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def _tunnel(self) -> None:  # the answer of a proxy; encryption comes after it
            with cut_after(seconds, lambda: self.sock):
                super()._tunnel()

        def getresponse(self, *args: Any, **options: Any) -> Any:
            connected, response = self.sock, None  # the response may take it over
            try:
                with cut_after(seconds, lambda: connected):
                    response = super().getresponse(*args, **options)
            except TimeoutError:
                if response is not None:
                    response.close()
                raise
            response.connected = connected
            return response

    return type("Pool", (pool,), {"ConnectionCls": Connection})


@contextlib.contextmanager
def cut_after(seconds: float, connected: Callable[[], Any]) -> Iterator[None]:
    """Cut a connection that is still read from after so many seconds.

    Raises
    ------
    TimeoutError
        It was cut. What is cut looks like an end of the headers, or like anything else.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError, TypeError):  # closed already, or not yet open
            # Of an encrypted one the connection below: its own would take the key from the reader.
            socket.socket.shutdown(connected(), socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError
