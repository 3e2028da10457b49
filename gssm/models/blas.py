"""One thread for matrix products, since Dask has given each core a task of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = threading.Lock()
_users = 0
_before: Any = None


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all libraries of the process: once


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold BLAS at one thread while anyone is inside, and give back what was set before.

    With most libraries the number is one for the whole process: were each thread to set
    and restore it for itself, the last to leave would restore what another had set.
    """
    global _users, _before
    with _lock:
        # Not only the first: with OpenMP the number is each thread's own.
        limited = _controller().limit(limits=1, user_api="blas")
        if _users == 0:
            _before = limited
        _users += 1
        # Else nobody but this thread could restore it, and another may leave last.
        OpenBLASController.clear_controlling_thread()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _before.restore_original_limits()
                OpenBLASController.clear_controlling_thread()
