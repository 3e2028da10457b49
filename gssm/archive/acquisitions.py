"""Dates in and out of a square: each a transaction, whole or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm.archive import groups, ledger
from gssm.archive.ledger import Index, Row
from gssm.archive.overviews import Overview, Pyramid
from gssm.archive.packing import PACKINGS
from gssm.archive.raw import move_chunks, remove_chunks
from gssm.archive.repository import (
    Archive,
    SquareConflict,
    archiving,
    commit,
    read_session,
    write_session,
)
from gssm.archive.tiles import Square, chunk_window, parse
from gssm.errors import ArchiveError, CubeError, GssmError, ReadError
from gssm.quality import BY_MEANING

Packed = Mapping[str, NDArray[Any]]
Change = Callable[[zarr.Group, str], bool]

DONE, OPEN = "ledger/done", "ledger/open"
# A square that so many others write at once is written by one, again and again.
MOST_CONFLICTS = 50
# Bytes: some hundreds of rows, compressed to a few kilobytes.
ROWS_CHUNK = 1 << 18
NO_VALUE = "no pixel has a value: water, snow or frozen ground, layover, or no radar"


def write_acquisition(
    archive: Archive,
    square: Square,
    row: Row,
    chunks: Iterable[tuple[Index, Packed]],
    *,
    max_failed: float = 1.0,
    replace_any: bool = False,
) -> Row:
    """Write one acquisition over one square, in one transaction.

    It is appended, or takes the place of the same acquisition where `ledger.why_not` has no
    objection. Another writer of the same square costs a copy of the chunks, no computation.

    Parameters
    ----------
    archive, square
        Where to.
    row
        What it is; `coverage` lists the chunks that come.
    chunks
        Index (row, column) and packed variables (`gssm.archive.packing.PACKINGS`) of each
        chunk, in any order; consumed only if the acquisition is to be written.

    Returns
    -------
    Row
        What the ledger holds now: this row with its counts, or the one that stays, as
        ``skipped`` with the reason; or this one so, if no pixel has a value.

    Raises
    ------
    ReadError
        More pixels than `max_failed` allows could not be read; nothing was written.
    ArchiveError, StoreWriteError
        The archive cannot be written; it is as it was.
    """
    with archiving(archive.url):
        session = write_session(archive)
        draft = _begin(session.store, archive, square, row, replace_any)
        if isinstance(draft, Row):
            return draft
        written = _write_pixels(draft, archive.chunk, row, _named(square, row, chunks))
        _refuse_failed(square, written, max_failed)
        if not written.valued:
            return replace(written, status="skipped", reason=NO_VALUE, written="")
        if draft.old is not None and ledger.is_same_map(written, draft.old):
            written = replace(written, tries=draft.old.tries + 1)
            if written.failed >= draft.old.failed:
                return _tried(archive, square, draft.old)
        for _ in range(MOST_CONFLICTS):
            _write_rows(draft.group, DONE, [*draft.others, written])
            try:
                commit(session, archive, f"{square.name} {written.key}")
                return written
            except SquareConflict:
                lost, before = session.store, draft
            session = write_session(archive)
            draft = _begin(session.store, archive, square, written, replace_any)
            if isinstance(draft, Row):
                return draft
            _copy_date(lost, before, session.store, draft, written)
        raise _too_many(archive, square.name)


@dataclass(frozen=True)
class _Draft:
    """A date in a session: its group, its place along time and the other rows."""

    group: zarr.Group
    place: int
    others: list[Row]
    old: Row | None


def _begin(
    store: Any, archive: Archive, square: Square, row: Row, replace_any: bool
) -> _Draft | Row:
    """Find or make the place of a date in a session; a row says why what is there stays."""
    root = zarr.open_group(store, mode="r+")
    found = root.get(square.group)
    group = found if isinstance(found, zarr.Group) else None
    rows = _rows(group, DONE)
    old = ledger.find(rows, row)
    reason = ledger.why_not(row, old, replace_any=replace_any)
    if old is not None and not reason and not set(old.coverage) <= set(row.coverage):
        reason = "another run has just written other parts of the square; run again"
    if old is not None and reason:
        return replace(old, status="skipped", reason=reason)
    group = group if group is not None else groups.create_group(root, square, archive.chunk)
    there = groups.times(group)
    if row.time in there and (old is None or old.time != row.time):
        return replace(row, status="skipped", reason="another acquisition has the same second")
    place = len(there) if old is None else int(np.flatnonzero(there == old.time)[0])
    if old is not None:
        remove_chunks(store, list(groups.chunk_keys(group, old.coverage, place)))
    groups.set_date(group, place, row)
    return _Draft(group, place, [other for other in rows if other is not old], old)


def _write_pixels(
    draft: _Draft, chunk: int, row: Row, chunks: Iterable[tuple[Index, Packed]]
) -> Row:
    pyramid = Pyramid(row.coverage, chunk)
    valued = failed = 0
    ages = np.zeros((len(ledger.AGES), 2), np.int64)
    mask, fill = BY_MEANING["read_failed"].mask, PACKINGS["quality_flag"].fill
    for index, packed in chunks:
        rows, columns = chunk_window(index, chunk)
        for name in groups.PIXEL_VARIABLES:
            groups.array(draft.group, name)[draft.place, rows, columns] = packed[name]
        for overview in pyramid.add(index, packed):
            _write_overview(draft, overview)
        moisture, flags = packed["soil_moisture"], packed["quality_flag"]
        valued += int((moisture != PACKINGS["soil_moisture"].fill).sum())
        failed += int(((flags & mask != 0) & (flags != fill)).sum())
        ages += [_summed(name, packed) for name in ledger.AGES]
    if pyramid.missing:
        raise CubeError(f"chunks {pyramid.missing} of {row.key} did not come; write them all.")
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return replace(
        row,
        status="done",
        valued=valued,
        failed=failed,
        written=now,
        gssm_version=version("gssm"),
        s2_age=_mean(*ages[0].tolist()),
        landsat_age=_mean(*ages[1].tolist()),
    )


def _summed(name: str, packed: Packed) -> tuple[int, int]:
    """Sum of an age in steps, and its number, over the pixels that have a value and an age."""
    steps, moisture = packed[name], packed["soil_moisture"]
    known = (steps != PACKINGS[name].fill) & (moisture != PACKINGS["soil_moisture"].fill)
    return int(steps.sum(where=known, dtype=np.int64)), int(known.sum())


def _mean(steps: int, count: int) -> float | None:
    """Mean age in days, to the hundredth; ages are packed in hundredths."""
    return round(steps / count) / 100 if count else None


def _named(
    square: Square, row: Row, chunks: Iterable[tuple[Index, Packed]]
) -> Iterator[tuple[Index, Packed]]:
    """Pass chunks on; what the system says of the files they come from is not of the archive."""
    try:
        yield from chunks
    except GssmError:
        raise
    except OSError as error:
        raise ReadError(
            f"{square.name} {row.key} could not be read ({error}); try again."
        ) from error


def _tried(archive: Archive, square: Square, old: Row) -> Row:
    """Note that mapping again what failed to be read brought nothing."""
    tried = replace(old, tries=old.tries + 1)

    def change(root: zarr.Group, _: str) -> bool:
        group = root[square.group]
        assert isinstance(group, zarr.Group)
        rows = _rows(group, DONE)
        if old not in rows:
            return False
        _write_rows(group, DONE, [*(row for row in rows if row != old), tried])
        return True

    transact(archive, f"{square.name} {old.key} tried again", change)
    return replace(tried, status="skipped", reason="mapped again, and no fewer pixels failed")


def _refuse_failed(square: Square, row: Row, max_failed: float) -> None:
    """Refuse an acquisition of which too much could not be read."""
    share = row.failed / max(1, row.failed + row.valued)
    if share > max_failed or (row.failed and not row.valued):
        raise ReadError(
            f"{square.name} {row.key}: {share:.1%} of its pixels could not be read, more than "
            f"max_failed={max_failed:g} allows; run again, or leave out the items that the "
            "warnings name."
        )


def _write_overview(draft: _Draft, overview: Overview) -> None:
    for name, block in overview.values.items():
        array = groups.array(draft.group, f"overviews/{overview.level}/{name}")
        array[(draft.place, *overview.window)] = block


def _copy_date(lost: Any, before: _Draft, store: Any, draft: _Draft, row: Row) -> None:
    """Copy the chunks of a date out of a session that could not commit."""
    keys = (groups.chunk_keys(draft.group, row.coverage, d.place) for d in (before, draft))
    move_chunks(lost, store, list(zip(*keys, strict=True)))


def _write_rows(group: zarr.Group, path: str, rows: list[Row]) -> None:
    content = ledger.to_bytes(rows)
    array = group.get(path)
    if not isinstance(array, zarr.Array):
        array = group.create_array(path, shape=(0,), chunks=(ROWS_CHUNK,), dtype="uint8")
    array.resize(content.shape)
    array[...] = content


def _rows(group: zarr.Group | None, path: str) -> list[Row]:
    array = None if group is None else group.get(path)
    return ledger.from_bytes(np.asarray(array[...])) if isinstance(array, zarr.Array) else []


def read_rows(archive: Archive, square: Square) -> list[Row]:
    """Return what the archive knows of a square: dates that are there, skipped and failed."""
    with archiving(archive.url):
        store = read_session(archive).store
        return rows_of(zarr.open_group(store, mode="r"), square)


def rows_of(root: zarr.Group, square: Square) -> list[Row]:
    """Rows of a square in an opened root; a date that came after all is no failure any more."""
    found = root.get(square.group)
    group = found if isinstance(found, zarr.Group) else None
    done = _rows(group, DONE)
    return [*done, *(r for r in _rows(group, OPEN) if ledger.find(done, r) is None)]


def record_open(archive: Archive, square: Square, rows: Iterable[Row]) -> None:
    """Record acquisitions that were skipped or failed, in place of what was said of them."""
    new: list[Row] = []
    for row in rows:  # of two rows of one pass the later one tells
        new = [*(other for other in new if not ledger.is_same_pass(other, row)), row]

    def change(root: zarr.Group, _: str) -> bool:
        found = root.get(square.group)
        known = isinstance(found, zarr.Group)
        group = found if known else groups.create_group(root, square, archive.chunk)
        assert isinstance(group, zarr.Group)
        old = _rows(group, OPEN)
        kept = [row for row in old if ledger.find(new, row) is None]
        _write_rows(group, OPEN, [*kept, *new])
        return True

    transact(archive, f"{square.name} ledger", change)


def sort_square(archive: Archive, square: Square) -> bool:
    """Put the dates of a square in order of time; False if they are.

    Chunks move as they are. Where another run writes the square meanwhile, it starts again.
    """

    def change(root: zarr.Group, snapshot_id: str) -> bool:
        group = root[square.group]
        assert isinstance(group, zarr.Group)
        there = groups.times(group)
        if len(np.unique(there)) != len(there):
            raise ArchiveError(
                f"archive {archive.url}: {square.name} has two dates of one second; restore an "
                "earlier version of it."
            )
        order = np.argsort(there, kind="stable")
        moved = np.flatnonzero(order != np.arange(len(order)))
        if not moved.size:
            return False
        # Read as it was: what a date leaves behind another may have taken already.
        before = read_session(archive, snapshot_id).store
        covered = {row.time: set(row.coverage) for row in _rows(group, DONE)}
        for place in map(int, moved):
            origin = int(order[place])
            coverage = covered.get(there[origin], set()) | covered.get(there[place], set())
            keys = (groups.chunk_keys(group, coverage, at) for at in (origin, place))
            move_chunks(before, group.store, list(zip(*keys, strict=True)))
        for name in groups.ALONG_TIME:
            coordinate = groups.array(group, name)
            coordinate[...] = np.asarray(coordinate[...])[order]
        return True

    return transact(archive, f"{square.name} sorted", change)


def transact(archive: Archive, message: str, change: Change) -> bool:
    """Change what lies under the root in one transaction, again if another was faster.

    `change` gets the root group and the id of the snapshot that it changes, and returns
    whether there is something to commit.
    """
    with archiving(archive.url):
        for _ in range(MOST_CONFLICTS):
            session = write_session(archive)
            before = session.snapshot_id
            if not change(zarr.open_group(session.store, mode="r+"), before):
                return False
            try:
                commit(session, archive, message)
                return True
            except SquareConflict:
                continue
        raise _too_many(archive, message)


def _too_many(archive: Archive, what: str) -> SquareConflict:
    return SquareConflict(
        f"archive {archive.url}: {what} was changed by other runs {MOST_CONFLICTS} times; run "
        "again later."
    )


def squares_of(archive: Archive) -> list[Square]:
    """Squares that the archive has, in order."""
    with archiving(archive.url):
        store = read_session(archive).store
        root = zarr.open_group(store, mode="r")
        zones = [(name, group) for name, group in root.groups()]
        return sorted(parse(f"{zone}{name}") for zone, group in zones for name, _ in group.groups())
