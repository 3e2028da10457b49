"""Raster files that a thread keeps open from chunk to chunk, so that each is opened once.

Tasks of a graph carry addresses, not files. A thread of a worker reads the same few dozen
files for one chunk of ground after the other; each open costs a header, and on a server a
request.
"""

from __future__ import annotations

import math
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

from gssm.addresses import file_version, local_path, reached
from gssm.network import is_remote, landed
from gssm.sign import expires, is_current, signed

# Files per thread: the images of a month over one place, all bands. Of what the system allows
# the process, often 1024 and on some machines 256, all threads together take half.
MOST, FEWEST = 96, 4
# Shorter than any signature lasts, and as long as a file replaced on a server may go unseen.
SECONDS = 300.0
# What images come in, by the end of their names. Other drivers (VRT above all) would follow
# what a file says to further files and hosts.
DRIVERS = {".jp2": "JP2OpenJPEG"}
DEFAULT_DRIVER = "GTiff"


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
    expires
        When the signature in its address ends, seconds since 1970.
    """

    dataset: rasterio.DatasetReader
    version: float
    since: float
    expires: float = math.inf
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
    if found is None or _is_old(found, href, now):
        files.pop(href, None)
        found = files[href] = Opened(_open(href), file_version(href), now, expires(href))
    files.move_to_end(href)
    while len(files) > _most():
        files.popitem(last=False)
    return found


def _most() -> int:
    share = _allowed() // 2 // threading.active_count()
    return min(MOST, max(FEWEST, share))


def _allowed() -> int:
    """Return how many files the system lets this process hold open."""
    try:
        import resource
    except ImportError:
        return 512  # Windows
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft > 0 else 1 << 20  # -1: without limit


def _is_old(found: Opened, href: str, now: float) -> bool:
    aged = now - found.since > SECONDS or not is_current(found.expires)
    return aged or found.version != file_version(href)


def forget(href: str) -> None:
    """Open the file anew when it is next asked for in this thread."""
    _thread.files.pop(href, None)


def open_image(href: str) -> rasterio.DatasetReader:
    """Open an image, wherever it lies, by the rules for addresses; not kept open.

    Raises
    ------
    rasterio.errors.RasterioError, OSError
        It cannot be opened, or must not be.
    """
    address = signed(href)
    if address.startswith("http"):
        address = landed(address, reached())
    elif not is_remote(address):
        # A path, and no prefix by which GDAL would know something else.
        address = os.path.abspath(local_path(address))
    end = os.path.splitext(address.partition("?")[0])[1].lower()
    driver = DRIVERS.get(end, DEFAULT_DRIVER)
    return rasterio.open(address, sharing=False, driver=driver)


def _open(href: str) -> rasterio.DatasetReader:
    dataset = open_image(href)
    if dataset.crs is None or dataset.transform.is_identity:
        raise RasterioIOError("it has no CRS or no geotransform")
    kind = np.dtype(dataset.dtypes[0]).kind
    if kind not in "iuf":
        raise RasterioIOError(f"it has {dataset.dtypes[0]} numbers, which gssm does not read")
    if dataset.count != 1:
        raise RasterioIOError(f"it has {dataset.count} bands where one is due")
    return dataset
