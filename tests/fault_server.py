"""A STAC API and its files on the loopback, with faults to be injected."""

from __future__ import annotations

import itertools
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOR_EVER = 1_000_000
CORE = "https://api.stacspec.org/v1.0.0"
CONFORMS = [f"{CORE}/core", f"{CORE}/collections", f"{CORE}/item-search"]
GEOJSON = "application/geo+json"
KIND = {"self": "application/json", "root": "application/json", "data": "application/json"}
KIND |= {"search": GEOJSON}
HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"

_numbers = itertools.count()


@dataclass
class Rule:
    """A fault for requests whose path matches: for so many of them, after so many."""

    path: str
    fault: str
    times: int = FOR_EVER
    after: int = 0
    seen: int = 0

    def strikes(self, path: str) -> bool:
        if not re.search(self.path, path):
            return False
        self.seen += 1
        return self.after < self.seen <= self.after + self.times


@dataclass
class Site:
    """What the server has, and what was asked."""

    folder: Path | None = None
    items: list[dict[str, Any]] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    page_items: int = 500
    token_seconds: float | None = None  # files of `token_path` need a token that lasts so long
    token_path: str = ""
    requests: list[tuple[str, str, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    # Part of every address: GDAL remembers files by address, beyond one server.
    prefix: str = field(default_factory=lambda: f"/n{next(_numbers)}")
    url: str = ""

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, path)) for _, path, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Answers; a rule may spoil the answer on its way out."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms
    site: Site

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = json.loads(self.rfile.read(length) or b"{}") if length else {}
        with self.site.lock:
            self.site.requests.append((self.command, self.path, time.monotonic()))
            rule = next((r for r in self.site.rules if r.strikes(self.path)), None)
        try:
            if rule and rule.fault in SPOILERS:
                SPOILERS[rule.fault](self)
            else:
                self.route(rule.fault if rule else "")
        except OSError:
            self.close_connection = True

    def route(self, fault: str) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(self.site.prefix)
        if path.startswith("/files/"):
            self.file(path.removeprefix("/files/"), parse_qs(parts.query), fault)
        elif path.startswith("/token/"):
            self.token(fault)
        else:
            self.json(self.record(path, parse_qs(parts.query), fault), fault)

    def record(self, path: str, query: dict[str, list[str]], fault: str) -> Any:
        base, site = self.site.url, self.site
        names = sorted({item["collection"] for item in site.items})
        if path in ("", "/"):
            rels = {"self": "", "root": "", "data": "/collections", "search": "/search"}
            links = [
                {"rel": r, "href": base + p, "method": "GET", "type": KIND[r]}
                for r, p in rels.items()
            ]
            links.append(
                {"rel": "search", "href": f"{base}/search", "method": "POST", "type": GEOJSON}
            )
            landing = {"type": "Catalog", "id": "faults", "description": "faults"}
            return {**landing, "stac_version": "1.0.0", "conformsTo": CONFORMS, "links": links}
        if path == "/collections":
            return {"collections": [collection(name) for name in names], "links": []}
        wanted = self.body.get("collections") or query.get("collections", [",".join(names)])
        wanted = [name for part in wanted for name in part.split(",")]
        start = int(
            (query.get("start") or [self.body.get("start", 0)])[0]
            if query
            else self.body.get("start", 0)
        )
        limit = min(site.page_items, int(self.body.get("limit", 10)))
        return self.page([i for i in site.items if i["collection"] in wanted], start, limit, fault)

    def page(self, found: list[Any], start: int, limit: int, fault: str) -> dict[str, Any]:
        if fault == "same items, new links":
            body, after = {**self.body, "start": 0, "salt": time.monotonic()}, True
        elif fault == "repeated page":
            body, after = {**self.body}, True
        else:
            body, after = {**self.body, "start": start + limit}, start + limit < len(found)
        base = self.site.url
        if fault == "next page elsewhere":
            base, after = "http://169.254.169.254", True
        link = {"rel": "next", "href": f"{base}/search", "method": "POST", "body": body}
        features = found[start : start + limit]
        if fault == "dropped asset":
            features = json.loads(json.dumps(features))
            for item in features:
                item["assets"].pop("vh", None)
        if fault in BAD_ADDRESSES:
            features = json.loads(json.dumps(features))
            for item in features:
                if "vh" in item["assets"]:
                    item["assets"]["vh"]["href"] = BAD_ADDRESSES[fault]
        if fault == "empty page":
            features, link["body"] = [], {**self.body, "start": 0, "salt": time.monotonic()}
            after = True
        links = [link] if after else []
        return {"type": "FeatureCollection", "features": features, "links": links}

    def token(self, fault: str) -> None:
        lasts = -60.0 if fault == "expired token" else self.site.token_seconds or 0.0
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lasts))
        # An old token that the server calls a good one, as after a change of keys.
        stated = "2100-01-01T00:00:00Z" if fault == "expired token" else end
        self.json({"msft:expiry": stated, "token": f"se={stated}&sig=s{time.time() + lasts:.3f}"})

    def json(self, record: Any, fault: str = "") -> None:
        self.send(200, json.dumps(record).encode(), "application/json", fault)

    def file(self, name: str, query: dict[str, list[str]], fault: str) -> None:
        assert self.site.folder is not None
        path = self.site.folder / name
        signature = query.get("sig", ["s0"])[0]
        needs_token = self.site.token_seconds is not None and self.site.token_path in self.path
        if needs_token and float(signature[1:]) < time.time():
            self.send(403, b"<Error>AuthenticationFailed</Error>", "application/xml")
            return
        if not path.is_file():
            self.send(404, b"", "text/plain")
            return
        content = path.read_bytes()
        if fault == "of another scene":
            content = content.replace(b"2021-04-01T", b"2021-03-20T")
            content = re.sub(rb"(PRODUCT_ID\W+LC0\d_L1TP_)\d{6}", rb"\g<1>001001", content)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.send(200, content, "image/tiff", fault)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        self.send(206, content[first : last + 1], "image/tiff", fault, (first, last, len(content)))

    def send(
        self,
        status: int,
        content: bytes,
        kind: str,
        fault: str = "",
        part: tuple[int, int, int] | None = None,
        **headers: str,
    ) -> None:
        if fault == "wrong length":
            content = content[: len(content) // 2]
        length = len(content) + (1000 if fault == "length too large" else 0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        if part:
            self.send_header("Content-Range", "bytes {}-{}/{}".format(*part))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "trickle":
            for byte in content:
                self.wfile.write(bytes([byte]))
                if self.site.closing.wait(0.2):
                    break
        elif fault in ("truncated", "length too large"):
            self.wfile.write(content[: len(content) // (2 if fault == "truncated" else 1)])
            self.close_connection = True
        else:
            self.wfile.write(content)


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.send(code, b"no", "text/plain", **headers)


def reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def hang(handler: Handler) -> None:
    handler.site.closing.wait(60)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Send headers a byte at a time, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.site.closing.wait(0.1):
        handler.wfile.write(b"a")


def endless_redirect(handler: Handler) -> None:
    """Redirect, with a page that never ends."""
    handler.wfile.write(
        b"HTTP/1.1 302 Found\r\nContent-Length: 1000000\r\n"
        b"Location: " + f"{handler.site.url}{handler.path}".encode() + b"\r\n\r\n"
    )
    while not handler.site.closing.wait(0.1):
        handler.wfile.write(b"a")


def redirect(address: str) -> Callable[[Handler], None]:
    return lambda h: h.send(302, b"", "text/plain", Location=address or h.site.url + h.path)


# Faults in place of an answer; the others spoil the true one.
SPOILERS: dict[str, Callable[[Handler], None]] = {
    **{str(code): status(code) for code in (401, 403, 404, 410, 429, 500, 502, 503)},
    "429, Retry-After: 1": status(429, Retry_After="1"),
    "429, Retry-After: a minute": status(429, Retry_After="60"),
    "503, Retry-After: a day": status(503, Retry_After="86400"),
    "web page": lambda handler: handler.send(200, HTML, "text/html"),
    "not JSON": lambda handler: handler.send(200, b"{'a': 1}", "application/json"),
    "hang": hang,
    "headers that drip": drip,
    "redirect that drips": endless_redirect,
    "connection reset": reset,
    "redirect in circles": redirect(""),
    "redirect into a private network": redirect("http://10.0.0.1/a.tif"),
    "redirect to credentials": redirect("http://169.254.169.254/latest/meta-data"),
}

BAD_ADDRESSES = {
    "file of this machine": "file:///etc/passwd",
    "path of this machine": "/etc/passwd",
    "virtual file": "/vsicurl/http://169.254.169.254/latest",
    "virtual raster": "vrt:///etc/passwd",
    "link-local host": "http://169.254.169.254/latest/meta-data",
    "private host": "http://10.1.2.3/vh.tif",
}


def collection(name: str) -> dict[str, Any]:
    extent = {
        "spatial": {"bbox": [[-180, -90, 180, 90]]},
        "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
    }
    record = {"type": "Collection", "id": name, "description": name, "license": "other"}
    return {**record, "stac_version": "1.0.0", "extent": extent, "links": []}


class QuietServer(ThreadingHTTPServer):
    """Says nothing of connections that were cut, as many are here."""

    daemon_threads, block_on_close = True, False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """Serve a site in threads of this process."""
    handler = type("BoundHandler", (Handler,), {"site": site})
    server = QuietServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}{site.prefix}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def with_files(site: Site, folder: Path) -> None:
    """Put the items of a folder of ItemCollections, and their files, into a served site."""
    site.folder = folder
    for file in sorted(folder.glob("*.json")):
        for item in json.loads(file.read_text()).get("features", ()):
            for asset in item["assets"].values():
                asset["href"] = f"{site.url}/files/{asset['href'].removeprefix('./')}"
            site.items.append(item)
