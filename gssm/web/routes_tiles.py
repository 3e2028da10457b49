"""Tiles of maps. One that was sent before is sent again without a thread or a look at the archive.

An address with a ``version`` always shows the same, so that whoever has it keeps it; without, it
shows the newest version, and is asked for again with its ETag.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b
from time import perf_counter
from typing import Annotated, Any, Literal, TypedDict

from cachetools import LRUCache
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from gssm.web.asking import date_of
from gssm.web.context import Shared
from gssm.web.headers import is_known
from gssm.web.lanes import Watch
from gssm.web.problems import responses
from gssm.web.routes_datasets import ColorEnd, ColormapName
from gssm.web.routing import CHECKED, PREFIX, DatasetId
from gssm.web.tiles import render_tile

MEDIA_TYPES = {"png": "image/png", "webp": "image/webp"}
FOREVER = "public, max-age=31536000, immutable"
AGAIN = "public, max-age=60"
IMAGES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The tile; transparent where there is no value.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in MEDIA_TYPES.values()
        },
    },
    304: {"description": "The client has it already (`If-None-Match`)."},
}


class Look(TypedDict):
    """How a tile is drawn, as of `gssm.web.tiles.render_tile`."""

    size: int
    colormap: str | None
    span: tuple[float | None, float | None]
    format: Literal["png", "webp"]


@dataclass(frozen=True)
class Tile:
    """A tile as it is sent, and what names its content."""

    body: bytes
    etag: str


def tile_of(body: bytes) -> Tile:
    """Return a tile with its name."""
    return Tile(body, f'"{blake2b(body, digest_size=12).hexdigest()}"')


class TileCache:
    """Tiles as they are sent, by what was asked for, within a number of bytes.

    Used by the event loop alone.

    Parameters
    ----------
    most_bytes
        Of all of them.
    """

    def __init__(self, most_bytes: int) -> None:
        self._kept: LRUCache[Hashable, Tile] = LRUCache(
            most_bytes, getsizeof=lambda tile: len(tile.body)
        )

    def get(self, key: Hashable) -> Tile | None:
        """Return a tile that was kept."""
        return self._kept.get(key)

    def keep(self, key: Hashable, tile: Tile) -> None:
        """Keep a tile, if it is not larger than all together may be."""
        if len(tile.body) <= self._kept.maxsize:
            self._kept[key] = tile

    @property
    def bytes(self) -> int:
        """Bytes of all tiles."""
        return int(self._kept.currsize)


router = APIRouter(prefix=f"{PREFIX}/datasets/{{dataset}}/tiles", tags=["tiles"])


@router.get(
    "/{variable}/{date}/{z}/{x}/{y}.{format}",
    response_class=Response,
    responses={**IMAGES, **responses(404)},
    dependencies=CHECKED,
    summary="A tile of a map",
)
async def tile(
    context: Shared,
    request: Request,
    dataset: DatasetId,
    variable: Annotated[str, Path(description="What it shows.", max_length=64)],
    date: Annotated[str, Path(description="Id of a date, a day, or `latest`.", max_length=32)],
    z: Annotated[int, Path(description="Zoom of Web Mercator.", ge=0, le=30)],
    x: Annotated[int, Path(description="Column.", ge=0, lt=1 << 30)],
    y: Annotated[
        str,
        Path(
            description="Row; with `@2x` the tile has 512 pixels a side instead of 256.",
            pattern=r"^[0-9]{1,10}(@2x)?$",
            examples=["1389", "1389@2x"],
        ),
    ],
    format: Annotated[Literal["png", "webp"], Path(description="Of the image.")],
    colormap: ColormapName = None,
    min: ColorEnd = None,
    max: ColorEnd = None,
    version: Annotated[
        str | None, Query(description="Of the dataset, as it says it.", max_length=64)
    ] = None,
) -> Response:
    """Show a variable on a date in the tiles of Web Mercator (WebMercatorQuad), 256 pixels a side.

    With the `version` that the dataset says the tile never changes.
    """
    row, _, double = y.partition("@")
    key = (dataset, version, variable, date, z, x, y, format, colormap, min, max)
    cache: TileCache = request.app.state.tiles
    # Of a prediction that was removed, what was sent is gone, too.
    is_kept = version is not None and dataset in context.datasets
    found = cache.get(key) if is_kept else None
    begun, warmth = perf_counter(), "cold" if found is None else "warm"
    if found is None:
        chosen, size = date_of(date), 512 if double else 256

        def render(watch: Watch) -> Tile:
            watch.check()  # who moves the map on hangs up
            opened = context.datasets.get(dataset, version)
            look: Look = {"size": size, "colormap": colormap, "span": (min, max), "format": format}
            return tile_of(render_tile(opened, variable, chosen, x, int(row), z, **look))

        found = await context.lanes.tiles.run_watched(request, render)
        if version is not None:
            cache.keep(key, found)
    headers = {
        "ETag": found.etag,
        "Cache-Control": FOREVER if version is not None else AGAIN,
        "Server-Timing": f'tile;desc="{warmth}";dur={1e3 * (perf_counter() - begun):.1f}',
    }
    if is_known(found.etag, request.headers):
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=MEDIA_TYPES[format], headers=headers)
