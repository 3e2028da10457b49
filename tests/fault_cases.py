"""The faults that `test_faults.py` injects and docs/faults.md lists: one table.

``python tests/fault_cases.py > docs/faults.md`` writes the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# map: as without the fault. gap: the pixels are NaN and flagged read_failed, all others as
# without it, and a warning names item and file. left out: a warning names the item, which is
# not among those found. error: CatalogUnreachableError or EmptySearchError.
Outcome = Literal["map", "gap", "left out", "error"]
Stage = Literal["search", "pixels", "token", "annotation", "calibration", "noise", "MTL"]

FOR_EVER = 1_000_000


@dataclass(frozen=True)
class Case:
    """A fault, where and how often it strikes, how it must end, and what must be said."""

    stage: Stage
    fault: str
    times: int
    outcome: Outcome
    says: str = ""
    after: int = 0

    @property
    def name(self) -> str:
        late = f", after {self.after} requests" if self.after else ""
        return f"{self.stage}: {self.fault}, {self.often}{late}"

    @property
    def often(self) -> str:
        return {1: "once", FOR_EVER: "for ever"}.get(self.times, f"{self.times} times")


def both(stage: Stage, fault: str, bad: Outcome, says: str, once: Outcome = "map") -> list[Case]:
    return [
        Case(stage, fault, 1, once, says if once != "map" else ""),
        Case(stage, fault, FOR_EVER, bad, says),
    ]


SIDECARS: tuple[Stage, ...] = ("annotation", "calibration", "noise", "MTL")

CASES: list[Case] = [
    # The search.
    *both("search", "401", "error", "HTTP 401"),
    *both("search", "403", "error", "HTTP 403"),
    Case("search", "404", FOR_EVER, "error", "HTTP 404"),
    *both("search", "429", "error", "HTTP 429"),
    Case("search", "429, Retry-After: 1", 1, "map"),
    *both("search", "500", "error", "HTTP 500"),
    *both("search", "503", "error", "HTTP 503"),
    Case("search", "503, Retry-After: a day", 1, "error", "HTTP 503"),
    *both("search", "hang", "error", "did not answer in time"),
    *both("search", "trickle", "error", "did not answer in time"),
    *both("search", "headers that drip", "error", "did not answer in time"),
    Case("search", "redirect that drips", FOR_EVER, "error", "redirects in circles"),
    *both("search", "connection reset", "error", "the connection failed"),
    *both("search", "truncated", "error", "cut short"),
    *both("search", "wrong length", "error", "cut short"),
    *both("search", "length too large", "error", "cut short"),
    *both("search", "web page", "error", "a web page"),
    *both("search", "not JSON", "error", "cut short"),
    Case("search", "redirect in circles", FOR_EVER, "error", "redirects in circles"),
    Case("search", "redirect into a private network", 1, "error", "10.0.0.1 is in a private"),
    Case("search", "redirect to credentials", 1, "error", "169.254.169.254 is link-local"),
    Case("search", "repeated page", FOR_EVER, "error", "next page is one that it gave before"),
    Case("search", "same items, new links", FOR_EVER, "error", "brought nothing new"),
    Case("search", "next page elsewhere", FOR_EVER, "error", "at another host, 169.254.169.254"),
    *both("search", "empty page", "error", "brought nothing new"),
    Case("search", "dropped asset", FOR_EVER, "error", "needs vv and vh"),
    *(
        Case("search", fault, FOR_EVER, "left out", says)
        for fault, says in {
            "file of this machine": "must not name files of this machine",
            "path of this machine": "must not name files of this machine",
            "virtual file": "no plain address",
            "virtual raster": "vrt: is no kind of address",
            "link-local host": "link-local",
            "private host": "in a private network",
        }.items()
    ),
    # The pixels: of the VH file of one acquisition.
    *both("pixels", "401", "gap", "HTTP 401"),
    *both("pixels", "403", "gap", "HTTP 403"),
    Case("pixels", "404", 1, "gap", "HTTP 404"),
    Case("pixels", "404", FOR_EVER, "gap", "HTTP 404"),
    Case("pixels", "410", FOR_EVER, "gap", "HTTP 410"),
    *both("pixels", "429", "gap", "HTTP 429"),
    Case("pixels", "429, Retry-After: 1", 1, "map"),
    *both("pixels", "500", "gap", "HTTP 500"),
    *both("pixels", "503", "gap", "HTTP 503"),
    Case("pixels", "503, Retry-After: a day", 1, "gap", "HTTP 503"),
    *both("pixels", "hang", "gap", "did not answer in time"),
    *both("pixels", "trickle", "gap", "did not answer in time"),
    *both("pixels", "headers that drip", "gap", "did not answer in time"),
    Case("pixels", "redirect that drips", FOR_EVER, "gap", "redirects in circles"),
    *both("pixels", "connection reset", "gap", "the connection failed"),
    *both("pixels", "truncated", "gap", "cut short"),
    *both("pixels", "wrong length", "gap", "cut short"),
    *both("pixels", "length too large", "gap", "cut short"),
    *both("pixels", "web page", "gap", "a web page"),
    Case("pixels", "redirect in circles", FOR_EVER, "gap", "redirects in circles"),
    Case("pixels", "redirect into a private network", FOR_EVER, "gap", "10.0.0.1 is in a private"),
    Case("pixels", "redirect to credentials", FOR_EVER, "gap", "link-local"),
    # In the middle: the file was opened (or its header read) before the fault begins.
    *(
        Case("pixels", fault, times, "map" if times == 1 else "gap", says if times > 1 else "", n)
        for n in (1, 2)
        for fault, says in {
            "403": "HTTP 403",
            "503": "HTTP 503",
            "connection reset": "could not be read",
            "truncated": "could not be read",
            "wrong length": "could not be read",
            "web page": "could not be read",
        }.items()
        for times in (1, FOR_EVER)
    ),
    # Signatures: every file needs a token.
    *both("token", "expired token", "gap", "HTTP 403"),
    *both("token", "403", "gap", "HTTP 403"),
    *both("token", "503", "gap", "HTTP 503"),
    *both("token", "hang", "gap", "did not answer in time"),
    *both("token", "web page", "gap", "a web page"),
    # The small files that say what the numbers of an image mean: of VV of a Sentinel-1 GRD scene,
    # and of a Landsat Level-1 scene.
    *(
        case
        for file in SIDECARS
        for case in (
            Case(file, "404", FOR_EVER, "gap", "HTTP 404"),
            Case(file, "503", 1, "map"),
            Case(file, "web page", FOR_EVER, "gap", "a web page"),
            Case(file, "truncated", FOR_EVER, "gap", "cut short"),
        )
    ),
    *(Case(file, "wrong length", FOR_EVER, "gap", "is not XML") for file in SIDECARS[:3]),
    *(
        Case(file, "of another scene", FOR_EVER, "gap", "is of S1B VV 2021")
        for file in SIDECARS[:3]
    ),
    Case("calibration", "503", FOR_EVER, "gap", "HTTP 503"),
    *both("calibration", "hang", "gap", "did not answer in time"),
    Case("calibration", "headers that drip", 1, "map"),
    Case("calibration", "truncated", 1, "map"),
    Case("MTL", "hang", 1, "map"),
    Case("MTL", "of another scene", FOR_EVER, "gap", "its MTL is of another scene"),
    Case("MTL", "wrong length", FOR_EVER, "gap", "MTL"),
]

_HEAD = """# Faults

What gssm does when a server fails. Every row is injected by `tests/test_faults.py` into a STAC
API with its files on a server of the tests' own; this page is made from the same table
(`python tests/fault_cases.py > docs/faults.md`).

- **map**: the result is the one without the fault, after a bounded number of attempts with
  growing, jittered pauses; `Retry-After` is honoured up to a minute.
- **gap**: the pixels that needed the file are NaN and flagged `read_failed`, all others are as
  without the fault, and a warning names item, file, cause and what helps.
- **left out**: the item leads where its catalogue must not, and a warning says so.
- **error**: `CatalogUnreachableError`, or `EmptySearchError` where nothing is left to map.

No fault ends in a wrong value or an endless wait. What cannot be told from outside: bytes of the
right number that are wrong, in a file that is not compressed; a host that answers the check of an
address and then redirects, or changes its name's address, before GDAL reads.

| where | fault | how often | ends in | says |
|---|---|---|---|---|
"""


def page() -> str:
    rows = [
        f"| {c.stage} | {c.fault}{f', from request {c.after + 1}' if c.after else ''} | {c.often} "
        f"| {c.outcome} | {c.says} |\n"
        for c in CASES
    ]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    print(page(), end="")
