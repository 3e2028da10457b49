"""Users of a map: each pans, zooms and changes the date, and asks for what it has not seen yet.

    python benchmarks/web_load.py PORT --users 50 --seconds 60

A process of its own, as it shares the cores with the server, on plain sockets, as a larger
client would take as much of them as the server. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"
# Of one user: connections to a server, as a browser has, new tiles of a step, and its seconds.
CONNECTIONS = TILES = 6
STEP_SECONDS = 2.0
# What users do, by weight; a pan is by two thirds of a screen of three by three tiles.
PAN, ZOOM, DATE = 0.75, 0.15, 0.10
VARIABLES = {"soil_moisture": 0.7, "soil_moisture_uncertainty": 0.15, "quality_flag": 0.15}
LOWEST_ZOOM, MORE_ZOOMS = 9, 1
REACH = 5  # tiles from the middle of the screen
PNG = b"\x89PNG\r\n\x1a\n"
TIMING = re.compile(rb'server-timing: tile;desc="(\w+)"', re.IGNORECASE)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

Tile = tuple[str, str, int, int, int]  # variable, date, zoom, column, row


@dataclass(frozen=True)
class Map:
    """What a server shows: where, when and in which version."""

    port: int
    prefix: str
    version: str
    bbox: tuple[float, float, float, float]
    dates: tuple[str, ...]
    zooms: tuple[int, ...]

    def path(self, tile: Tile) -> str:
        """Address of a tile."""
        variable, date, z, x, y = tile
        return f"{self.prefix}/tiles/{variable}/{date}/{z}/{x}/{y}.png?version={self.version}"

    def extent(self, z: int) -> tuple[range, range]:
        """Columns and rows of a zoom."""
        west, south, east, north = self.bbox
        (left, top), (right, bottom) = _place(west, north, z), _place(east, south, z)
        return range(left, right + 1), range(top, bottom + 1)


def _place(lon: float, lat: float, z: int) -> tuple[int, int]:
    """Column and row of the tile that holds a place."""
    y = math.asinh(math.tan(math.radians(lat))) / math.pi
    return int((lon + 180) / 360 * 2**z), int((1 - y) / 2 * 2**z)


def read_map(port: int) -> Map:
    """Ask a server for what it shows."""
    listed = _json(port, "/api/v1/datasets")["datasets"][0]["id"]
    prefix = f"/api/v1/datasets/{listed}"
    found = _json(port, prefix)
    dates = tuple(one["id"] for one in _json(port, f"{prefix}/dates")["dates"])
    zooms = tuple(range(max(found["minzoom"], LOWEST_ZOOM), found["maxzoom"] + MORE_ZOOMS + 1))
    return Map(port, prefix, found["version"], tuple(found["bbox"]), dates, zooms)


def _json(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=60) as answer:
        return json.load(answer)


class User:
    """Looks at a screen; what it has seen it does not ask for again, as a browser.

    Parameters
    ----------
    shown
        The map.
    seed
        What it does.
    """

    def __init__(self, shown: Map, seed: int) -> None:
        self._map, self._random, self._seen = shown, random.Random(seed), set[Tile]()
        names = list(VARIABLES)
        self._variable = self._random.choices(names, [VARIABLES[name] for name in names])[0]
        self._jump()
        self._is_new = True

    def _jump(self) -> None:
        choice = self._random.choice
        self._date, self._z = choice(self._map.dates), choice(self._map.zooms)
        self._x, self._y = (choice(part) for part in self._map.extent(self._z))
        self._way = choice([(2, 0), (-2, 0), (0, 2), (0, -2)])

    def _move(self) -> None:
        action = self._random.choices((PAN, ZOOM, DATE), (PAN, ZOOM, DATE))[0]
        if action == ZOOM and self._random.random() < 0.5 and self._z < self._map.zooms[-1]:
            self._z, self._x, self._y = self._z + 1, 2 * self._x + 1, 2 * self._y + 1
        elif action == ZOOM and self._z > self._map.zooms[0]:
            self._z, self._x, self._y = self._z - 1, self._x // 2, self._y // 2
        elif action == DATE:
            self._date = self._random.choice(self._map.dates)
        else:
            columns, rows = self._map.extent(self._z)
            x, y = self._x + self._way[0], self._y + self._way[1]
            if x not in columns or y not in rows:
                self._jump()
            else:
                self._x, self._y = x, y

    def step(self) -> list[Tile]:
        """Move; return the tiles nearest to the middle of the screen that are new."""
        if not self._is_new:
            self._move()
        self._is_new = False
        for _ in range(100):
            found = [tile for tile in self._around() if tile not in self._seen][:TILES]
            if len(found) == TILES:
                break
            self._jump()
        self._seen.update(found)
        return found

    def _around(self) -> Iterator[Tile]:
        columns, rows = self._map.extent(self._z)
        near = [
            (abs(x - self._x) + abs(y - self._y), x, y)
            for x in range(self._x - REACH, self._x + REACH + 1)
            for y in range(self._y - REACH, self._y + REACH + 1)
            if x in columns and y in rows
        ]
        for _, x, y in sorted(near):
            yield self._variable, self._date, self._z, x, y


@dataclass
class Seen:
    """What all users saw: milliseconds of tiles by warmth, bytes, zooms, errors, delays."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: {"warm": [], "cold": []})
    bytes: int = 0
    zooms: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    late_steps: int = 0
    reopened: int = 0
    lags: list[float] = field(default_factory=list)


class Connection:
    """One connection that is kept; one that the server has ended meanwhile is opened anew."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, seen: Seen) -> tuple[int, bytes, bytes]:
        """Return status, head and body of an answer.

        A server may end a connection that nobody uses; browsers ask once more (RFC 9112, 9.3.1).
        """
        if self._streams is not None:
            try:
                return await self._ask(path)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
            except ConnectionError:
                pass
            self.close()
            seen.reopened += 1
        self._streams = await asyncio.open_connection(HOST, self._port)
        return await self._ask(path)

    async def _ask(self, path: str) -> tuple[int, bytes, bytes]:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        return int(head[9:12]), head, body

    def close(self) -> None:
        """End it; it can be used again."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def ask(connection: Connection, shown: Map, tile: Tile, seen: Seen) -> None:
    """Ask for one tile, and note how it came."""
    begun = time.perf_counter()
    try:
        status, head, body = await connection.get(shown.path(tile), seen)
    except (OSError, asyncio.IncompleteReadError) as error:
        seen.errors.append(f"{type(error).__name__} {error}")
        connection.close()
        return
    taken = 1e3 * (time.perf_counter() - begun)
    said = TIMING.search(head)
    if status != 200 or said is None or not body.startswith(PNG):
        seen.errors.append(f"{status} {body[:200]!r}")
        return
    seen.milliseconds[said[1].decode()].append(taken)
    seen.bytes += len(body)
    seen.zooms[tile[2]] += 1


async def use(user: User, shown: Map, begin: float, end: float, seen: Seen) -> None:
    """Step every two seconds: not sooner where answers are fast, and at once where they are not."""
    connections = [Connection(shown.port) for _ in range(CONNECTIONS)]
    due = begin
    while due < end:
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
            seen.lags.append(1e3 * (time.perf_counter() - due))
        else:
            seen.late_steps += 1
        pairs = zip(connections, user.step(), strict=False)
        await asyncio.gather(*(ask(one, shown, tile, seen) for one, tile in pairs))
        due += STEP_SECONDS
    for one in connections:
        one.close()


def percentile(values: Sequence[float], share: float) -> float:
    """Smallest value that a share of all is not above; 0 of none."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


async def load(shown: Map, users: int, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Let users come evenly over one step, and stay for some seconds; return what they saw."""
    seen, begin = Seen(), time.perf_counter() + 0.1
    cpu = time.process_time()
    starts = [begin + STEP_SECONDS * number / users for number in range(users)]
    everyone = [
        use(User(shown, 1000 * seed + number), shown, start, start + seconds, seen)
        for number, start in enumerate(starts)
    ]
    await asyncio.gather(*everyone)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    figures = {
        warmth: {
            "tiles": len(values),
            "p50": percentile(values, 0.5),
            "p95": percentile(values, 0.95),
            "max": max(values, default=0.0),
        }
        for warmth, values in seen.milliseconds.items()
    }
    return {
        **figures,
        "seconds": took,
        "cpu": cpu,
        "bytes": seen.bytes,
        "zooms": dict(sorted(seen.zooms.items())),
        "errors": len(seen.errors),
        "error": seen.errors[0] if seen.errors else "",
        "late_steps": seen.late_steps,
        "reopened": seen.reopened,
        "lag": percentile(seen.lags, 0.95),
        "asked": users * TILES * math.ceil(seconds / STEP_SECONDS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(load(read_map(given.port), given.users, given.seconds))))


if __name__ == "__main__":
    main()
