"""Apps of the web over small archives, asked in the process or over a socket."""

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field

import uvicorn
from starlette.testclient import TestClient

from gssm.web.app import create_app
from gssm.web.settings import Limits, Settings

# Of a test no client is one too many.
LOOSE = Limits(burst=1_000_000, requests_per_second=1_000_000)


def settings_of(folder, archives, *, limits=LOOSE, **options):
    """Settings whose folder of data is of its own."""
    urls = {name: str(url) for name, url in archives.items()}
    return Settings(urls, data=folder / "data", limits=limits, **options)


@contextlib.contextmanager
def asking(settings):
    """Client of an app in this process, whose lifespan it runs."""
    with TestClient(create_app(settings)) as client:
        yield client


@dataclass(frozen=True)
class Answer:
    """What a server on the loopback said."""

    status: int
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    def json(self):
        return json.loads(self.body)


@dataclass
class Served:
    """A server on the loopback; paths and headers go to it as they are."""

    port: int
    secrets: list = field(default_factory=list)

    def ask(self, method, target, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection._validate_path = lambda url: None
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            said = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, said, response.read())
        finally:
            connection.close()

    def send(self, *pieces, wait=0.0):
        """Send bytes as they are, with a pause between; return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(wait)
                connection.sendall(piece)
            return _all_of(connection)


def _all_of(connection):
    said = b""
    while True:
        part = connection.recv(65536)
        if not part:
            return said
        said += part


@contextlib.contextmanager
def serving(app):
    """Serve an app on the loopback, as uvicorn does."""
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="on", proxy_headers=False, ws="none"
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.01)
        yield Served(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
