"""Move chunks from store to store as the bytes that they are, decoding nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

# Requests at once: of a store in the cloud each waits some tens of milliseconds.
AT_ONCE = 32
# Keys whose chunks are in memory together, a megabyte each.
BATCH = 256


def move_chunks(source: Store, target: Store, pairs: Sequence[tuple[str, str]]) -> None:
    """Copy the chunk under each first key to its second; what is absent is removed there."""
    for start in range(0, len(pairs), BATCH):
        sync(_move(source, target, pairs[start : start + BATCH]))


def remove_chunks(store: Store, keys: Sequence[str]) -> None:
    """Remove the chunks that there are under these keys."""
    for start in range(0, len(keys), BATCH):
        sync(_remove(store, keys[start : start + BATCH]))


async def _remove(store: Store, keys: Iterable[str]) -> None:
    await asyncio.gather(*(store.delete(key) for key in keys))


async def _move(source: Store, target: Store, pairs: Iterable[tuple[str, str]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(origin: str, place: str) -> None:
        async with gate:
            content = await source.get(origin, default_buffer_prototype())
            if content is None:
                await target.delete(place)
            else:
                await target.set(place, content)

    await asyncio.gather(*(one(origin, place) for origin, place in pairs))
