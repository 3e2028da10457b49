"""Files that stay open in a thread: once each, and never an old one."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import gssm
from gssm import opened as module
from gssm.opened import forget, opened

BBOX = (3.0200, 50.8155, 3.0245, 50.8185)


def write(path: Path, value: float) -> str:
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "float32", "count": 1}
    place = {"crs": "EPSG:32631", "transform": from_origin(500_000, 5_600_000, 10, 10)}
    with rasterio.open(path, "w", width=4, height=4, **profile, **place) as file:
        file.write(np.full((1, 4, 4), value, np.float32))
    return str(path)


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened."""
    counted: Counter[str] = Counter()
    open_file = module._open

    def count(href: str) -> Any:
        counted[href] += 1
        return open_file(href)

    monkeypatch.setattr(module, "_open", count)
    monkeypatch.setattr(module, "_thread", module._Thread())
    return counted


def test_a_map_of_many_chunks_opens_each_file_once(scene: Path, opens: Counter[str]) -> None:
    items = gssm.search(BBOX, "2023-06", catalog=scene)
    cube = gssm.open_cube(items, chunks={"y": 8, "x": 8})
    assert cube["vv"].data.npartitions > 8
    with dask.config.set(scheduler="synchronous"):
        cube.compute()
    assert len(opens) > 20
    assert set(opens.values()) == {1}


def test_a_file_that_changed_is_opened_anew(tmp_path: Path, opens: Counter[str]) -> None:
    href = write(tmp_path / "a.tif", 1)
    first = opened(href)
    assert opened(href) is first
    # As a download replaces a file: another one under the same name.
    os.replace(write(tmp_path / "b.tif", 2), href)
    os.utime(href, (1, 1))
    assert opened(href).dataset.read(1)[0, 0] == 2
    assert opens[href] == 2


def test_each_thread_has_files_of_its_own(tmp_path: Path, opens: Counter[str]) -> None:
    href = write(tmp_path / "a.tif", 1)
    mine = opened(href)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(opened, href).result() is not mine
    assert opened(href) is mine


def test_old_signatures_and_failures_are_not_kept(
    tmp_path: Path, opens: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    href = write(tmp_path / "a.tif", 1)
    first = opened(href)
    forget(href)
    second = opened(href)
    assert second is not first
    later = second.since + module.SECONDS + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert opened(href) is not second


def test_no_more_files_are_open_than_the_system_allows(
    tmp_path: Path, opens: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    hrefs = [write(tmp_path / f"{i}.tif", i) for i in range(5)]
    for href in (*hrefs, hrefs[-1], hrefs[0]):
        opened(href)
    assert len(module._thread.files) == 3
    assert opens == Counter(hrefs) + Counter(hrefs[:1])


def test_many_threads_share_what_the_system_allows(
    tmp_path: Path, opens: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    hrefs = [write(tmp_path / f"{i}.tif", i) for i in range(20)]
    gate = threading.Barrier(16, timeout=10)

    def read(number: int) -> int:
        gate.wait()  # so that all threads are there
        for href in hrefs:
            opened(href)
        gate.wait()
        return len(module._thread.files)

    with ThreadPoolExecutor(16) as pool:
        assert 16 <= sum(pool.map(read, range(16))) <= 256 // 2
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, 0))
    assert module._most() == module.MOST


def test_a_file_address_is_unquoted_and_watched(tmp_path: Path, opens: Counter[str]) -> None:
    (tmp_path / "a b").mkdir()
    write(tmp_path / "a b" / "c.tif", 1)
    href = f"file://{tmp_path}/a%20b/c.tif"
    assert opened(href).dataset.read(1)[0, 0] == 1
    os.utime(tmp_path / "a b" / "c.tif", (1, 1))
    opened(href)
    assert opens[href] == 2


def test_what_was_made_of_a_file_is_made_once(tmp_path: Path, opens: Counter[str]) -> None:
    file = opened(write(tmp_path / "a.tif", 1))
    calls: list[int] = []
    for _ in range(3):
        file.made("grid", lambda: calls.append(1))
    assert calls == [1]
