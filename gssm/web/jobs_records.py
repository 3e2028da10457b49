"""What is known of a prediction, in memory and in a small file beside its archive."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from gssm.catalogs import Bbox
from gssm.errors import RequestError, StoreWriteError

log = logging.getLogger("gssm.web")

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled")
FINAL: tuple[State, ...] = ("done", "failed", "cancelled")

RECORD, ARCHIVE, LOCK = "job.json", "archive", ".lock"
ID = re.compile(r"[0-9a-f]{16}")
# Of a folder that is being deleted.
GONE = ".gone-"
STOPPED = "the server was stopped before it was done; ask for the prediction again."


@dataclass(frozen=True)
class Record:
    """One prediction, as everybody may see it.

    Attributes
    ----------
    id
        Random; also that of its dataset, once it is done.
    title
        For people.
    date
        Id of the acquisition.
    bbox
        West, south, east, north of the place in degrees.
    created, started, ended
        ISO 8601, UTC; None where it has not come to that.
    state, message
        How it is, and what there is to say of it in a sentence; mostly empty.
    chunks_done, chunks_total
        Chunks computed; in all 0 until it is planned.
    """

    id: str
    title: str
    date: str
    bbox: Bbox
    created: str
    started: str | None = None
    ended: str | None = None
    state: State = "queued"
    message: str = ""
    chunks_done: int = 0
    chunks_total: int = 0

    @property
    def is_final(self) -> bool:
        """Tell whether nothing more will happen to it."""
        return self.state in FINAL


def now() -> str:
    """Return the time as records have it."""
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def age_seconds(record: Record) -> float:
    """Seconds since a job ended; 0 where it has not."""
    if record.ended is None:
        return 0.0
    ended = dt.datetime.fromisoformat(record.ended)
    return (dt.datetime.now(dt.UTC) - ended).total_seconds()


class Folder:
    """The folder of all jobs, each with a folder of its own.

    Parameters
    ----------
    path
        Of it; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def archive(self, name: str) -> str:
        """Return the address of the archive of a job."""
        return str(self.path / name / ARCHIVE)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this process alone.

        Raises
        ------
        RequestError
            Another server holds it, or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise RequestError(
                f"the folder {self.path} cannot be written ({error.strerror}); choose another "
                "folder for data."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise RequestError(
                f"the folder {self.path} is that of another server that runs; choose another "
                "folder for data."
            ) from error
        try:
            yield
        finally:
            os.close(descriptor)

    def new(self) -> str:
        """Return the id of a job that is not there yet."""
        name = secrets.token_hex(8)
        return self.new() if (self.path / name).exists() else name

    def save(self, record: Record) -> None:
        """Write a record, whole or not at all.

        Raises
        ------
        StoreWriteError
            It cannot be written.
        """
        folder = self.path / record.id
        partial = folder / f"{RECORD}.partial"
        try:
            folder.mkdir(exist_ok=True)
            partial.write_text(json.dumps(asdict(record)))
            os.replace(partial, folder / RECORD)
        except OSError as error:
            if not (folder / RECORD).exists():
                self.remove(record.id)  # what there is of it
            raise StoreWriteError(
                f"the server could not keep the prediction ({error.strerror}); ask again later."
            ) from error

    def load(self) -> list[Record]:
        """Read all records, oldest first; what was not finished has failed.

        Half of an archive, and what is half deleted, is removed.
        """
        for left in self.path.glob(f"{GONE}*"):
            shutil.rmtree(left, ignore_errors=True)
        found = []
        for folder in sorted(self.path.iterdir()):
            if not ID.fullmatch(folder.name):
                continue
            record = _read(folder)
            if record is None:
                log.warning("the folder %s holds no readable job; delete it.", folder)
                continue
            if not record.is_final:
                record = replace(record, state="failed", message=STOPPED, ended=now())
                with suppress(StoreWriteError):
                    self.save(record)
            if record.state != "done":
                self.remove_archive(record.id)
            found.append(record)
        return sorted(found, key=lambda record: record.created)

    def remove_archive(self, name: str) -> None:
        """Delete the archive of a job; from one moment to the other it is not there."""
        self._remove(self.path / name / ARCHIVE)

    def remove(self, name: str) -> None:
        """Delete all of a job; from one moment to the other it is not there."""
        self._remove(self.path / name)

    def _remove(self, folder: Path) -> None:
        """Rename a folder at once, and delete it in a thread, as it may hold many files."""
        gone = self.path / f"{GONE}{secrets.token_hex(8)}"
        try:
            folder.rename(gone)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the folder %s could not be deleted: %s", folder, error)
            return
        delete = partial(shutil.rmtree, gone, ignore_errors=True)
        threading.Thread(target=delete, name="gssm-delete", daemon=True).start()


def _read(folder: Path) -> Record | None:
    """Read the record of a folder, if it is one."""
    try:
        stated: Any = json.loads((folder / RECORD).read_text())
        record = Record(**{f.name: stated[f.name] for f in fields(Record)})
        west, south, east, north = (float(value) for value in record.bbox)
        is_right = record.id == folder.name and record.state in STATES
        times = [dt.datetime.fromisoformat(record.created)]
        times += [dt.datetime.fromisoformat(record.ended)] if record.ended else []
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    is_right &= all(time.tzinfo is not None for time in times)
    return replace(record, bbox=(west, south, east, north)) if is_right else None
