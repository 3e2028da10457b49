"""The tests' server of S3 on the loopback, and an environment that leads to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

TESTS = Path(__file__).parents[1] / "tests" / "archive"


@contextmanager
def s3_here() -> Iterator[Any]:
    """Serve S3 in threads of this process: its own seconds are in what is measured."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from s3_server import served_s3

    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with served_s3() as s3, mock.patch.dict(os.environ, elsewhere | s3.environment, clear=True):
        yield s3
