"""Raster files that a thread keeps open from chunk to chunk, so that each is opened once.

Tasks of a graph carry addresses, not files. A thread of a worker reads the same few dozen
files for one chunk of ground after the other; each open costs a header, and on a server a
request.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioIOError

from gssm.sign import signed

# Files per thread: the images of a month over one place, all bands. The system allows
# a process a thousand or more.
MOST = 96
# Shorter than any signature lasts, and as long as a file replaced on a server may go unseen.
SECONDS = 300.0


@dataclass(frozen=True, eq=False)
class Opened:
    """An open file, and what was made of it for one grid or another.

    Parameters
    ----------
    dataset
        One band of numbers with a place on Earth.
    version
        Of the file when it was opened.
    since
        When that was, seconds of a clock that never goes back.
    """

    dataset: rasterio.DatasetReader
    version: float
    since: float
    _made: dict[Hashable, Any] = field(default_factory=dict)

    def made(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` returned for this key, made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class _Thread(threading.local):
    def __init__(self) -> None:
        self.files: OrderedDict[str, Opened] = OrderedDict()


_thread = _Thread()


def opened(href: str) -> Opened:
    """Return the file at a path or URL, open in this thread.

    Raises
    ------
    rasterio.errors.RasterioError, OSError
        It cannot be opened, or is no single band of numbers with a place on Earth.
    """
    files, now = _thread.files, time.monotonic()
    found = files.get(href)
    if found is None or found.version != version(href) or now - found.since > SECONDS:
        files.pop(href, None)
        found = files[href] = Opened(_open(href), version(href), now)
    files.move_to_end(href)
    while len(files) > MOST:
        files.popitem(last=False)
    return found


def forget(href: str) -> None:
    """Open the file anew when it is next asked for in this thread."""
    _thread.files.pop(href, None)


def version(href: str) -> float:
    """Tell a local file that was written anew from what it was before."""
    try:
        return os.stat(href).st_mtime
    except OSError:
        return 0.0  # remote, or gone: reading it will tell


def _open(href: str) -> rasterio.DatasetReader:
    dataset = rasterio.open(signed(href), sharing=False)
    if dataset.crs is None or dataset.transform.is_identity:
        raise RasterioIOError("it has no CRS or no geotransform")
    kind = np.dtype(dataset.dtypes[0]).kind
    if kind not in "iuf":
        raise RasterioIOError(f"it has {dataset.dtypes[0]} numbers, which gssm does not read")
    if dataset.count != 1:
        raise RasterioIOError(f"it has {dataset.count} bands where one is due")
    return dataset
