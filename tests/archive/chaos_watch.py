"""What an archive holds, chunk by chunk, against what it should hold; and who looks all the while.

A date is known by its square and the digest of its row: of that, every chunk has one content.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from chaos_jobs import CHUNK, SQUARES, pixels_of
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from gssm.archive import groups
from gssm.archive.acquisitions import read_rows
from gssm.archive.ledger import Row, from_bytes
from gssm.archive.opening import Archive, find_archive, read_session
from gssm.archive.packing import unpack
from gssm.archive.reading import open_archive
from gssm.archive.repository import archiving
from gssm.archive.tiles import PIXEL, chunk_window, parse
from gssm.errors import ArchiveError, EmptySearchError

# Array, row and column of a chunk, whatever its place along time.
CHUNK_KEY = re.compile(r"^(?P<array>.+)/c/(?P<place>\d+)/(?P<index>\d+/\d+)$")
# Variables of a square, and those of its overviews.
PIXEL_ARRAYS = len(groups.PIXEL_VARIABLES) + len(groups.LEVELS) * len(groups.OVERVIEW_VARIABLES)
# Dates that are read again at each look, beside those that are new.
AGAIN = 2
# Of so many looks one is by gssm's reader.
LOOKS = 4
# Seconds between two looks, which are for the others.
PAUSE = 0.1

Chunks = dict[str, str]  # hash by array, row and column
Truth = dict[str, dict[str, Chunks]]  # by square and digest


async def _keys(store: Any, prefix: str) -> list[str]:
    return [key async for key in store.list_prefix(prefix)]


async def _get(store: Any, keys: list[str]) -> list[str]:
    buffers = [await store.get(key, default_buffer_prototype()) for key in keys]
    return ["absent" if b is None else hashlib.sha256(b.to_bytes()).hexdigest() for b in buffers]


def everything(archive: Archive) -> dict[str, str]:
    """Return the hash of every key of an archive, metadata among them, but of ledgers."""
    store = read_session(archive).store
    keys = [key for key in sync(_keys(store, "")) if "/ledger/" not in key]
    return dict(zip(keys, sync(_get(store, keys)), strict=True))


def everything_known(archive: Archive) -> dict[str, list[Row]]:
    """Return the rows of all squares, in order of time, without when they were written."""
    return {name: _timeless(read_rows(archive, parse(name))) for name in SQUARES}


def _timeless(rows: list[Row]) -> list[Row]:
    return sorted((replace(row, written="") for row in rows), key=lambda r: (r.time, r.digest))


@dataclass
class Square:
    """A square as a session sees it: rows of the ledger, and keys of chunks by place."""

    name: str
    store: Any
    times: list[int]
    rows: list[Row]
    keys: dict[int, dict[str, str]] = field(default_factory=dict)

    def chunks(self, row: Row) -> Chunks:
        """Read all chunks of a date."""
        keys = self.keys.get(self.times.index(row.time), {})
        return dict(zip(keys, sync(_get(self.store, list(keys.values()))), strict=True))


def squares(store: Any) -> list[Square]:
    """Return what a session has of each square."""
    root = zarr.open_group(store, mode="r")
    found = []
    for name in SQUARES:
        group = root.get(parse(name).group)
        if not isinstance(group, zarr.Group):
            continue
        # All at once: one by one they take most of a look.
        arrays = {path: one for path, one in group.members(None) if isinstance(one, zarr.Array)}
        along = {n: np.asarray(arrays[n][:]).tolist() for n in groups.ALONG_TIME}
        done = arrays.get("ledger/done")
        rows = [] if done is None else from_bytes(np.asarray(done[...]))
        square = Square(name, store, along["time"], rows)
        pixels = [a for a in arrays.values() if a.metadata.dimension_names == groups.DIMENSIONS]
        assert len(pixels) == PIXEL_ARRAYS, f"{name}: {sorted(arrays)}"
        lengths = {one.shape[0] for one in pixels} | {len(one) for one in along.values()}
        assert lengths == {len(rows)}, f"{name}: {len(rows)} rows, arrays of {lengths}"
        for key in sync(_keys(store, f"{group.path}/")):
            match = CHUNK_KEY.match(key.removeprefix(f"{group.path}/"))
            if match:
                place = square.keys.setdefault(int(match["place"]), {})
                place[f"{match['array']}/{match['index']}"] = key
        _check_coordinates(square, along)
        found.append(square)
    return found


def _check_coordinates(square: Square, along: dict[str, list[int]]) -> None:
    name, times = square.name, square.times
    assert len(set(times)) == len(times), f"{name}: a time twice in {times}"
    assert sorted(times) == [row.time for row in square.rows], f"{name}: ledger and times differ"
    assert set(square.keys) <= set(range(len(times))), f"{name}: chunks beyond the last date"
    for row in square.rows:
        place = times.index(row.time)
        platform = groups.PLATFORMS[along["platform"][place]]
        assert (platform, along["relative_orbit"][place]) == (row.platform, row.relative_orbit)


def truth_of(*archives: Archive) -> Truth:
    """Return the content of every date of undisturbed archives."""
    truth: Truth = {}
    for archive in archives:
        for square in squares(read_session(archive).store):
            known = truth.setdefault(square.name, {})
            known.update({row.digest: square.chunks(row) for row in square.rows})
    return truth


@dataclass
class Watch:
    """What a reader has seen so far."""

    truth: Truth
    polls: int = 0
    versions: set[str] = field(default_factory=set)
    dates: int = 0
    through_reader: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)  # digests by key

    def look(self, archive: Archive, rng: random.Random) -> None:
        """Open the archive, and check all dates that it shows: whole, known, and none lost."""
        self.polls += 1
        with archiving(archive.url):
            session = read_session(archive)
            self.versions.add(session.snapshot_id)
            for square in squares(session.store):
                self._check(square, rng)

    def _check(self, square: Square, rng: random.Random) -> None:
        known = self.truth[square.name]
        new = [row for row in square.rows if self.seen.get(_name(square, row)) != row.digest]
        for row in square.rows:
            expected, place = known[row.digest], square.times.index(row.time)
            assert set(square.keys.get(place, {})) == set(expected), (
                f"{_name(square, row)}: partial"
            )
        for row in [*new, *rng.sample(square.rows, k=min(AGAIN, len(square.rows)))]:
            assert square.chunks(row) == known[row.digest], f"{_name(square, row)}: other content"
            self.dates += 1
        there = {_name(square, row): row for row in square.rows}
        lost = [n for n in self.seen if n[0] == square.name and n not in there]
        assert not lost, f"{lost} was there and is lost"
        for row in new:
            before = self.seen.get(_name(square, row))
            assert before is None or row.processed == "20250101", f"{row.key}: an older one is back"
            self.seen[_name(square, row)] = row.digest

    def look_as_users_do(self, archive: Archive, rng: random.Random) -> None:
        """Read a date with gssm's reader, and compare it with what was written."""
        name = rng.choice(SQUARES)
        rows = [r for r in read_rows(archive, parse(name)) if r.status == "done"]
        if not rows:
            return
        row = rng.choice(rows)
        dataset = open_archive(archive.url, variables=["soil_moisture"])
        times = dataset.indexes["time"]
        assert times.is_unique, times
        assert times.is_monotonic_increasing, times
        place = int(np.abs(times.asi8 // 10**9 - row.time).argmin())
        left, _, _, top = parse(name).bounds
        corner = (
            round((float(dataset.y[0]) + PIXEL / 2 - top) / PIXEL),
            round((left - float(dataset.x[0]) + PIXEL / 2) / PIXEL),
        )
        versions = [row, *(replace(row, processed=p) for p in ("20240101", "20250101"))]
        for index in row.coverage:
            parts = chunk_window(index, CHUNK)
            at = [slice(p.start + c, p.stop + c) for p, c in zip(parts, corner, strict=True)]
            found = dataset["soil_moisture"][(place, *at)].to_numpy()
            wanted = [
                unpack("soil_moisture", dict(pixels_of(v, name))[index]["soil_moisture"])
                for v in versions
            ]
            assert any(np.array_equal(found, w, equal_nan=True) for w in wanted), (
                f"{name} {row.key}"
            )
        self.through_reader += 1

    def record(self) -> str:
        """Return all of it as JSON."""
        whole = {k: v for k, v in vars(self).items() if k not in ("truth", "seen")}
        return json.dumps({**whole, "versions": len(self.versions)})


def _name(square: Square, row: Row) -> tuple[str, str]:
    return square.name, row.radar[0]


def watch(url: str, truth: str, report: str, stop: str) -> None:
    """Look at an archive until a file says to stop: the process of the reader."""
    watch, rng, archive = Watch(json.loads(Path(truth).read_text())), random.Random(1), None
    while True:
        is_last = Path(stop).exists()
        try:
            archive = archive or find_archive(url)
            watch.look(archive, rng)
            if watch.polls % LOOKS == 1 or is_last:
                watch.look_as_users_do(archive, rng)
        except EmptySearchError:
            pass
        except ArchiveError as error:  # of a storage with faults: no answer is no wrong answer
            watch.refused[str(error)] += 1
        except Exception as error:
            watch.violations.append(f"{time.time():.3f} {type(error).__name__}: {error}"[:1000])
        Path(report).write_text(watch.record())
        if is_last:
            return
        time.sleep(PAUSE)


def differences(one: Archive, other: Archive) -> list[str]:
    """Say what differs between two archives; nothing is said of two that are the same."""
    keys = [everything(archive) for archive in (one, other)]
    found = [
        f"{key} differs"
        for key in sorted(keys[0].keys() | keys[1].keys())
        if keys[0].get(key) != keys[1].get(key)
    ]
    known = [everything_known(archive) for archive in (one, other)]
    for name in SQUARES:
        if known[0][name] != known[1][name]:
            rows = [[json.dumps(asdict(row)) for row in k[name]] for k in known]
            found += [f"{name} ledger: {row}" for row in sorted(set(rows[0]) ^ set(rows[1]))]
    return found
