"""Connections that bring no request."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from gssm.web import connections
from gssm.web.connections import Connection

SECONDS = 0.3
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


@contextmanager
def serving(app):
    """Port of an app, with the connections of `gssm serve`."""
    server = uvicorn.Server(
        uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_level="critical")
    )
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", SECONDS)

    async def app(scope, receive, send):
        if scope["path"] == "/slow":
            await asyncio.sleep(3 * SECONDS)
        await PlainTextResponse("there")(scope, receive, send)

    with serving(app) as port:
        yield port


def ended(connection):
    """Tell whether the server ends a connection; what it said before."""
    connection.settimeout(20 * SECONDS)
    said = b""
    while part := connection.recv(1000):
        said += part
    return said


@pytest.mark.parametrize("first", [b"", HEAD, b"GET"], ids=["nothing", "a part", "a word"])
def test_a_connection_that_brings_no_request_is_closed(port, first):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(first)
        assert ended(connection) == b""


def test_a_second_request_that_does_not_come_is_no_better(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD)
        assert b"200" not in ended(connection)


def test_an_answer_may_take_longer(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD.replace(b"/ ", b"/slow ") + b"Connection: close\r\n\r\n")
        assert ended(connection).endswith(b"there")
