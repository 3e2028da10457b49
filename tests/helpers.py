from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import dask


def _refuse(dsk: Any, keys: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("a lazy stage computed")


@contextmanager
def no_compute() -> Iterator[None]:
    """Make every Dask computation inside the block fail, which proves that the block is lazy."""
    with dask.config.set(scheduler=_refuse):
        yield
