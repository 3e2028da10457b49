"""S3 on the loopback: moto's implementation of its API behind a server that injects faults.

moto keeps the buckets; the server lets one write through at a time, since conditional writes
are atomic in S3 but not in moto.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from werkzeug.test import EnvironBuilder, run_wsgi_app

FOR_EVER = 1_000_000
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-real-secret"}
# Of the connection, not of the answer.
PER_HOP = ("connection", "transfer-encoding", "server", "date", "content-length")
SLOW_SECONDS = 0.3

_numbers = itertools.count()


@dataclass
class Fault:
    """A fault for requests that match: for so many of them, after so many, or for a share.

    Parameters
    ----------
    kind
        One of `SPOILERS` (in place of the answer) or `AFTERWARDS` (the request is carried out,
        but its answer is spoilt).
    path, method
        Regular expressions of what is asked, method ``PUT``, ``GET``, ``HEAD`` and so on.
    """

    kind: str
    path: str = ""
    method: str = ""
    times: int = FOR_EVER
    after: int = 0
    share: float = 1.0
    seen: int = 0

    def strikes(self, method: str, path: str) -> bool:
        if not (re.search(self.path, path) and re.search(self.method, method)):
            return False
        self.seen += 1
        is_its_turn = int(self.seen * self.share) > int((self.seen - 1) * self.share)
        return is_its_turn and self.after < self.seen <= self.after + self.times


@dataclass
class S3:
    """A server of S3: its address, the faults to come, and what was asked."""

    url: str = ""
    moto: Any = None  # its WSGI application
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, bool]] = field(default_factory=list)  # last: signed
    lock: threading.Lock = field(default_factory=threading.Lock)
    writing: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def bucket(self) -> str:
        """Make a new bucket and return its name."""
        name = f"bucket-{next(_numbers)}"
        assert self.ask("PUT", f"/{name}", b"", {})[0] == 200
        return name

    def keys(self, bucket: str) -> list[str]:
        """Names of the objects in a bucket."""
        content = self.ask("GET", f"/{bucket}?list-type=2", b"", {})[2]
        return re.findall(r"<Key>([^<]+)</Key>", content.decode())

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object as somebody else would."""
        assert self.ask("PUT", f"/{bucket}/{key}", content, {})[0] == 200

    def publish(self, bucket: str) -> None:
        """Let everybody read the objects that are in a bucket now."""
        for key in self.keys(bucket):
            signature = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request"
            headers = {"x-amz-acl": "public-read", "Authorization": signature}
            path = f"/{bucket}/{key}?acl"
            assert self.ask("PUT", path, b"", headers)[0] == 200

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, f"{m} {path}") is not None for m, path, _ in self.requests)

    def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask moto itself, without faults."""
        asked = EnvironBuilder(path, method=method, data=body, headers=headers)
        content, status, answer = run_wsgi_app(self.moto, asked.get_environ())
        return int(status.split()[0]), dict(answer), b"".join(content)

    @property
    def environment(self) -> dict[str, str]:
        """What the environment says of a process that uses it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1"}


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on; a fault may spoil the answer or take its place."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms
    s3: S3

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        with self.s3.lock:
            is_signed = "Authorization" in self.headers
            self.s3.requests.append((self.command, self.path, is_signed))
            strikes = [f for f in self.s3.faults if f.strikes(self.command, self.path)]
        kind = strikes[0].kind if strikes else ""
        try:
            if kind in SPOILERS:
                SPOILERS[kind](self)
            else:
                AFTERWARDS[kind](self, *self.forward())
        except OSError:
            self.close_connection = True

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def forward(self) -> tuple[int, dict[str, str], bytes]:
        if self.command in ("GET", "HEAD"):
            return self.s3.ask(self.command, self.path, self.body, dict(self.headers))
        with self.s3.writing:
            return self.s3.ask(self.command, self.path, self.body, dict(self.headers))

    def send(
        self, status: int, headers: dict[str, str], content: bytes, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in PER_HOP:
                self.send_header(name, value)
        if self.command == "HEAD":
            found = {name.lower(): value for name, value in headers.items()}
            self.send_header("Content-Length", found.get("content-length", "0"))
        else:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def error(status: int, code: str) -> Callable[[Proxy], None]:
    """Return what answers with an error of S3."""
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
        f"<Message>{code} of the test server</Message><RequestId>1</RequestId></Error>"
    ).encode()
    return lambda proxy: proxy.send(status, {"Content-Type": "application/xml"}, content)


def reset(proxy: Proxy) -> None:
    proxy.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    proxy.connection.close()
    proxy.close_connection = True


def hang(proxy: Proxy) -> None:
    proxy.s3.closing.wait(60)
    proxy.close_connection = True


def truncated(proxy: Proxy, status: int, headers: dict[str, str], content: bytes) -> None:
    proxy.send(status, headers, content[: len(content) // 2], len(content))
    proxy.close_connection = True


def damaged(proxy: Proxy, status: int, headers: dict[str, str], content: bytes) -> None:
    kept = content[: len(content) // 2]
    proxy.send(status, headers, kept + bytes(len(content) - len(kept)))


def slow(proxy: Proxy, status: int, headers: dict[str, str], content: bytes) -> None:
    time.sleep(SLOW_SECONDS)
    proxy.send(status, headers, content)


# Faults in place of an answer; the request is not carried out.
SPOILERS: dict[str, Callable[[Proxy], None]] = {
    "500": error(500, "InternalError"),
    "503": error(503, "SlowDown"),
    "expired token": error(400, "ExpiredToken"),
    "expired token, 403": error(403, "ExpiredToken"),
    "wrong key": error(403, "InvalidAccessKeyId"),
    "denied": error(403, "AccessDenied"),
    "wrong region": error(301, "PermanentRedirect"),
    "wrong region, 400": error(400, "AuthorizationHeaderMalformed"),
    "reset": reset,
    "hang": hang,
}

# Faults of the answer; the request is carried out.
AFTERWARDS: dict[str, Callable[..., None]] = {
    "": Proxy.send,
    "slow": slow,
    "truncated": truncated,
    "damaged": damaged,
    "lost answer": lambda proxy, *_: error(500, "InternalError")(proxy),
    "lost answer, reset": lambda proxy, *_: reset(proxy),
}


class QuietServer(ThreadingHTTPServer):
    """Says nothing of connections that were cut, as many are here."""

    daemon_threads, block_on_close = True, False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def served_s3() -> Iterator[S3]:
    """Serve S3 in threads of this process."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    s3 = S3(moto=DomainDispatcherApplication(create_backend_app))
    server = QuietServer(("127.0.0.1", 0), type("BoundProxy", (Proxy,), {"s3": s3}))
    s3.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        s3.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
