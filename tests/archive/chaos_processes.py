"""Processes that begin at once: children of one that has imported everything, and runs nothing."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
MODULES = (
    *("pytest", "distributed.cli.dask_worker", "distributed.cli.dask_scheduler"),
    *("icechunk", "zarr", "gssm.archive.reading", "chaos_watch", "chaos"),
)


def started(
    target: Callable[..., None], *words: Any, environment: dict[str, str], log: Path
) -> Any:
    """Start a process that calls a function with words, and writes what it says to a file."""
    CONTEXT.set_forkserver_preload(list(MODULES))
    before = os.environ.get("PYTHONPATH")
    # Where the first of these calls starts the one that imports: what it must find, and how.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        process = CONTEXT.Process(target=_begin, args=(target, words, environment, str(log)))
        process.start()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return process


def _begin(target: Callable[..., None], words: Any, environment: dict[str, str], log: str) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    target(*words)


def scheduler(*words: str) -> None:
    """Be `dask scheduler`."""
    from distributed.cli.dask_scheduler import main

    main(list(words), standalone_mode=False)


def worker(*words: str) -> None:
    """Be `dask worker`."""
    from distributed.cli.dask_worker import main

    main(list(words), standalone_mode=False)
