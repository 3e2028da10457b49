"""Memory of what was made, bounded by bytes; what two ask for at once is made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class OnceCache(Generic[T]):
    """Least recently used values within a number of bytes, for many threads.

    Parameters
    ----------
    most_bytes
        Of all values together; a larger one is made and handed out, and not kept.
    size_of
        Bytes of a value.
    """

    def __init__(self, most_bytes: int, size_of: Callable[[T], int]) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[Hashable, T] = LRUCache(most_bytes, getsizeof=size_of)
        self._coming: dict[Hashable, Future[T]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key; who comes while it is made waits for it.

        Raises
        ------
        Exception
            What `make` raises, to all who wait; the next one makes it anew.
        """
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            coming = self._coming.get(key)
            if coming is None:
                mine: Future[T] = Future()
                self._coming[key] = mine
        if coming is not None:
            return coming.result()
        try:
            value = make()
        except BaseException as error:
            self._settle(key)
            mine.set_exception(error)
            raise
        with self._lock:
            if self._kept.getsizeof(value) <= self._kept.maxsize:
                self._kept[key] = value
        self._settle(key)
        mine.set_result(value)
        return value

    def has(self, key: Hashable) -> bool:
        """Tell whether the value of a key is kept."""
        with self._lock:
            return key in self._kept

    def _settle(self, key: Hashable) -> None:
        with self._lock:
            del self._coming[key]

    @property
    def bytes(self) -> int:
        """Bytes of all that is kept."""
        with self._lock:
            return int(self._kept.currsize)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
