from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from s3_server import S3, served_s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """Serve S3 on the loopback, for all tests."""
    with served_s3() as s3:
        yield s3


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server without faults, and an environment that leads to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_server.requests.clear()
    s3_server.faults.clear()
    yield s3_server
    s3_server.faults.clear()
