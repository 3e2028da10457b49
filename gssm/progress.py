"""A progress bar for Dask's local schedulers, drawn by rich."""

from __future__ import annotations

from typing import Any

from dask.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TaskProgress(Callback):
    """Show how many tasks of a computation are done; use as a context manager."""

    def __init__(self, label: str, console: Console) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._label = label
        self._progress = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: Any = None

    def _start_state(self, dsk: Any, state: Any) -> None:
        total = sum(len(state[k]) for k in ("ready", "waiting", "running", "finished"))
        self._task = self._progress.add_task(self._label, total=total)
        self._progress.start()

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        self._progress.advance(self._task)

    def _finish(self, dsk: Any, state: Any, errored: bool) -> None:
        self._progress.stop()
        self._progress.remove_task(self._task)  # a long job computes part after part
