"""The page and what it loads: files of one folder, kept in memory, compressed once."""

from __future__ import annotations

import gzip
import mimetypes
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gssm.web.headers import accepts_gzip, is_known
from gssm.web.problems import NotFoundError

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
# A name of parts without a dot in front: no way up, and nothing hidden.
NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
TEXTS = (".html", ".css", ".js", ".mjs", ".json", ".geojson", ".svg", ".txt", ".webmanifest")
# What a system may know under other names, or not at all.
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".geojson": "application/geo+json",
    ".woff2": "font/woff2",
    ".pbf": "application/x-protobuf",
    "": "text/plain",
}
# Asked for again each time, and answered with 304: a new gssm has a new page.
CACHE = "no-cache"


@dataclass(frozen=True)
class Asset:
    """A file of the page: as it is, compressed where that pays, and what names its content."""

    body: bytes
    compressed: bytes | None
    media_type: str
    etag: str


class Assets:
    """Files of a folder; each is read when it is asked for, and again when it has changed.

    Parameters
    ----------
    folder
        Which.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], Asset]] = {}

    def get(self, name: str) -> Asset:
        """Return a file.

        Raises
        ------
        NotFoundError
            There is none of that name.
        """
        try:
            if not NAME.fullmatch(name):
                raise FileNotFoundError
            path = self._folder / name
            now = path.stat()
            stamp = (now.st_mtime_ns, now.st_size)
            known = self._read.get(name)
            if known is not None and known[0] == stamp:
                return known[1]
            asset = _asset(path)
        except (OSError, ValueError) as error:
            raise NotFoundError(
                "there is no such file of the page; / is the page itself."
            ) from error
        self._read[name] = stamp, asset
        return asset


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    suffix = path.suffix.lower()
    kind = TYPES.get(suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = suffix in TEXTS or kind.startswith("text/")
    compressed = gzip.compress(body, 9, mtime=0) if is_text else None
    if compressed is not None and len(compressed) >= len(body):
        compressed = None
    digest = blake2b(body, digest_size=12).hexdigest()
    return Asset(body, compressed, f"{kind}; charset=utf-8" if is_text else kind, f'W/"{digest}"')


def send(asset: Asset, asked: Headers) -> Response:
    """Return a file as a client reads it, or 304 where it has it."""
    headers = {"ETag": asset.etag, "Cache-Control": CACHE, "Vary": "Accept-Encoding"}
    if is_known(asset.etag, asked):
        return Response(status_code=304, headers=headers)
    if asset.compressed is not None and accepts_gzip(asked):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed, media_type=asset.media_type, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


def static_routes(folder: Path = FOLDER) -> list[Route]:
    """Return the routes of the page (``/``), of its icon and of its files (``/static/…``)."""
    assets = Assets(folder)

    async def index(request: Request) -> Response:
        return send(assets.get(INDEX), request.headers)

    async def icon(request: Request) -> Response:
        return send(assets.get("favicon.svg"), request.headers)

    async def file(request: Request) -> Response:
        return send(assets.get(request.path_params["name"]), request.headers)

    return [
        Route("/", index),
        Route("/favicon.ico", icon),
        Route("/static/{name:path}", file),
    ]
