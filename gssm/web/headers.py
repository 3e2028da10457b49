"""Headers of every answer, HEAD for every GET, and JSON with an ETag and compressed."""

from __future__ import annotations

import gzip
from hashlib import blake2b
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page brings all that it loads; tiles that it draws are blobs on their way to the canvas.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "worker-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY: tuple[tuple[bytes, bytes], ...] = tuple(
    (name.lower().encode(), value.encode())
    for name, value in (
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Frame-Options", "DENY"),
        (
            "Permissions-Policy",
            "geolocation=(self), camera=(), microphone=(), payment=(), usb=()",
        ),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
)


# Of a request for headers alone, which is answered as GET: true in its scope.
HEAD = "gssm.head"


class HeadersMiddleware:
    """Adds the headers of security to every answer, and answers HEAD as GET without a body.

    Parameters
    ----------
    app
        The app below.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A stream of events has no end: without its body it would never be answered.
        is_head = scope["method"] == "HEAD" and not scope["path"].endswith("/events")
        if is_head:
            scope = {**scope, "method": "GET", HEAD: True}

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *SECURITY]}
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app(scope, receive, adding)


JSON_TYPES = ("application/json", "application/geo+json", "application/problem+json")
COMPRESSED = (*JSON_TYPES, "text/csv")
# Bytes from which compression pays, and its level: a megabyte takes ten milliseconds.
SMALLEST, LEVEL = 1_000, 3


class JsonMiddleware:
    """Gives JSON and CSV that are sent in one piece an ETag, and compresses them.

    Images, downloads, events and what is compressed already pass as they are.

    Parameters
    ----------
    app
        The app below.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        start: Message | None = None

        async def finishing(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if not _is_text(message):
                    await send(message)
                else:
                    start = message
                return
            if start is not None:
                first, start = start, None
                if not message.get("more_body", False):
                    first, message = _finished(first, message, asked, scope["method"])
                await send(first)
            await send(message)

        await self.app(scope, receive, finishing)


def _is_text(message: Message) -> bool:
    headers = Headers(raw=message.get("headers", []))
    kind = headers.get("content-type", "").split(";")[0]
    return kind in COMPRESSED and "content-encoding" not in headers


def _finished(
    start: Message, message: Message, asked: Headers, method: str
) -> tuple[Message, Message]:
    """Headers and body as they are sent: 304, compressed or as they were."""
    body: bytes = message.get("body", b"")
    headers = MutableHeaders(raw=list(start["headers"]))
    status = start["status"]
    headers.add_vary_header("Accept-Encoding")
    if status == 200 and method == "GET" and "etag" not in headers:
        headers["ETag"] = etag_of(body)
        headers.setdefault("Cache-Control", "no-cache")
    if status == 200 and method == "GET" and is_known(headers.get("etag"), asked):
        for name in ("content-length", "content-type"):
            del headers[name]
        return {**start, "status": 304, "headers": headers.raw}, {**message, "body": b""}
    if len(body) >= SMALLEST and accepts_gzip(asked):
        body = gzip.compress(body, LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
    return {**start, "headers": headers.raw}, {**message, "body": body}


def etag_of(body: bytes) -> str:
    """Return a weak ETag: the same for the same content, however it is encoded."""
    return f'W/"{blake2b(body, digest_size=12).hexdigest()}"'


def is_known(etag: str | None, asked: Headers) -> bool:
    """Tell whether the client has what an ETag names (``If-None-Match``)."""
    stated = asked.get("if-none-match")
    if stated is None or etag is None:
        return False
    known = [one.strip().removeprefix("W/") for one in stated.split(",")]
    return "*" in known or etag.removeprefix("W/") in known


def accepts_gzip(asked: Headers) -> bool:
    """Tell whether a client reads gzip (``Accept-Encoding``)."""
    for one in asked.get("accept-encoding", "").lower().split(","):
        name, _, quality = one.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
