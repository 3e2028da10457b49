"""Pixels that came over the network once do not come again, and are never other pixels."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.enums import Resampling
from rasterio.windows import Window

import gssm
from fault_server import Rule, Site, served, with_files
from gssm import network, opened, read_cache, reader, sign
from gssm.catalogs import MASKS
from gssm.describe import Raster
from gssm.errors import GssmWarning, RequestError
from gssm.read_cache import DAY, FOLDER, LARGEST, OLDEST, Entry, entry_of, find, keep, unsigned

BBOX = (3.0200, 50.8155, 3.0245, 50.8185)
HREF = "https://a.example/b/c.tif"
GRID = (32631, (0.0, 0.0, 400.0, 300.0), (10.0, 10.0))
WINDOW = Window(0, 0, 4, 3)
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing remembered by this process; nothing set by the user."""
    monkeypatch.setattr(read_cache, "_writing", read_cache._Writing())
    for name in (FOLDER, LARGEST, OLDEST):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv(FOLDER, str(path))
    return path


def entry(raster: Raster | str = HREF, **changes: Any) -> Entry:
    place = {"grid": GRID, "window": WINDOW, "resampling": Resampling.bilinear, "fill": np.nan}
    found = entry_of(Raster(raster) if isinstance(raster, str) else raster, **(place | changes))
    assert found is not None
    return found


def fail(message: str) -> None:
    raise AssertionError(message)


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


# --- names -----------------------------------------------------------------------------------


def test_there_is_no_cache_unless_asked_for_nor_one_of_local_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = (GRID, WINDOW, Resampling.bilinear, np.nan)
    assert entry_of(Raster(HREF), *place) is None
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert entry_of(Raster(HREF), *place) is not None
    assert entry_of(Raster("s3://bucket/b.tif"), *place) is not None
    assert entry_of(Raster("/data/b.tif"), *place) is None
    assert entry_of(Raster("file:///data/b.tif"), *place) is None


CHANGED = {
    "href": HREF.replace("c.tif", "d.tif"),
    "scale": 1e-4,
    "offset": -0.1,
    "nodata": 0.0,
    "minimum": 0.0,
    "positive": True,
    "kind": "landsat_toa",
    "sidecars": (("mtl", HREF), ("band", "10")),
}


def test_every_field_of_a_raster_has_its_part_in_the_name() -> None:
    assert {f.name for f in fields(Raster)} == {*CHANGED, "rule"}, "what of the new field?"


def test_what_numbers_depend_on_is_in_the_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = Raster(HREF)
    found = [entry(raster), *(entry(replace(raster, **{k: v})) for k, v in CHANGED.items())]
    found.append(entry(replace(raster, sidecars=(("mtl", HREF), ("band", "11")))))
    places: list[dict[str, Any]] = [
        *({"grid": g} for g in ((32632, *GRID[1:]), (*GRID[:2], (20.0, 20.0)))),
        {"grid": (GRID[0], (0.0, 0.0, 410.0, 300.0), GRID[2])},
        *({"window": Window(*w)} for w in ((0, 1, 4, 3), (1, 0, 4, 3), (0, 0, 3, 4))),
        {"resampling": Resampling.nearest},
        {"fill": 0},
    ]
    found += [entry(raster, **place) for place in places]
    monkeypatch.setattr(read_cache, "_software", lambda: ("0", "another GDAL", "0"))
    found.append(entry(raster))
    assert len({e.path for e in found}) == len(found)
    # How classes become categories is decided after they were read.
    assert entry(replace(raster, rule=MASKS["sentinel2"])).path == found[-1].path


def test_a_local_file_beside_a_remote_image_counts_as_it_is_now(
    folder: Path, tmp_path: Path
) -> None:
    mtl = tmp_path / "mtl.txt"
    mtl.write_text("a")
    raster = Raster(HREF, kind="landsat_toa", sidecars=(("mtl", str(mtl)), ("band", "4")))
    before = entry(raster).path
    os.utime(mtl, (1, 1))
    assert entry(raster).path != before


SAS = "sv=2021-06-08&st=2026-01-01T00%3A00%3A00Z&se=2026-01-02T00%3A00%3A00Z&sr=c&sp=rl"
AWS = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={}&X-Amz-Expires=60&X-Amz-Signature={}"


@pytest.mark.parametrize(
    ("signed", "plain"),
    [
        (f"{HREF}?{SAS}&sig=abc%3D", HREF),
        (f"{HREF}?{SAS}&sig=abc%3D&snapshot=7", f"{HREF}?snapshot=7"),
        (f"{HREF}?{AWS.format(1, 2)}&versionId=3", f"{HREF}?versionId=3"),
        (f"{HREF}?Expires=1&Signature=x&Key-Pair-Id=K&id=5", f"{HREF}?id=5"),
        (
            "https://a.blob.core.windows.net/c/d.tif?anything=1",
            "https://a.blob.core.windows.net/c/d.tif",
        ),
    ],
)
def test_a_signature_is_no_part_of_the_name(signed: str, plain: str, folder: Path) -> None:
    assert unsigned(signed) == unsigned(plain) == plain
    assert entry(signed).path == entry(plain).path
    sidecar = Raster(HREF, sidecars=(("noise", signed),))
    assert entry(sidecar).path == entry(replace(sidecar, sidecars=(("noise", plain),))).path


@pytest.mark.parametrize(
    "href",
    [
        "https://a.example/download?id=a",
        "https://a.example/download?id=b",
        "https://a.example/get?file=x.tif&sp=1&se=2",  # names of signatures, without one
        "https://a.example/get?token=a",  # a link that is nothing but its token
        "https://ai4edatasetspublicassets.blob.core.windows.net/a.tif?b=1",
        "https://[a/b.tif?c",
        "s3://bucket/a?b",
        "/local/a?b",
    ],
)
def test_what_may_tell_files_apart_stays_in_the_name(href: str) -> None:
    assert unsigned(href) == href


# --- entries ---------------------------------------------------------------------------------


@given(
    values=hnp.arrays(
        dtype=st.sampled_from(["f4", "u1", "u2", "i2", "f8"]),
        shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    )
)
def test_what_is_found_is_what_was_kept(values: np.ndarray[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, folder)
        rows, columns = values.shape
        here = entry(window=Window(0, 0, columns, rows))
        assert find(here) is None
        keep(here, values, fail)
        found = find(here)
        assert found is not None
        assert found.dtype == values.dtype
        assert found.tobytes() == values.tobytes()  # not a number, and its bits, included
        assert found.shape == values.shape
        assert found.flags.writeable


def test_a_window_that_is_no_block_of_memory_is_kept_as_it_is_seen(folder: Path) -> None:
    for number, values in enumerate((VALUES.T.copy().T, np.broadcast_to(np.float32(7), (3, 4)))):
        here = entry(f"{HREF}{number}")
        keep(here, values, fail)
        np.testing.assert_array_equal(find(here), values)


def test_no_damaged_entry_is_trusted(folder: Path) -> None:
    here = entry()
    keep(here, VALUES, fail)
    whole = here.path.read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole))]
    damaged += [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole + b"a", bytes(len(whole)), whole + bytes(10_000)]
    for content in damaged:
        here.path.write_bytes(content)
        assert find(here) is None
    keep(here, VALUES, fail)
    assert here.path.read_bytes() != damaged[-1]
    np.testing.assert_array_equal(find(here), VALUES)


def test_an_entry_under_the_name_of_another_is_not_trusted(folder: Path) -> None:
    here, there = entry(), entry(HREF + "f")
    keep(here, VALUES, fail)
    there.path.parent.mkdir(exist_ok=True)
    there.path.write_bytes(here.path.read_bytes())
    assert find(there) is None


@pytest.mark.parametrize("days", [31, -31])
def test_an_old_entry_is_read_again(
    days: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one from a clock that was wrong; using it does not make it young."""
    now = time.time()
    monkeypatch.setattr(read_cache, "_tidy", lambda asked: None)
    monkeypatch.setattr(read_cache.time, "time", lambda: now - days * DAY)
    keep(entry(), VALUES, fail)
    monkeypatch.undo()
    monkeypatch.setenv(FOLDER, str(folder))
    os.utime(entry().path)
    assert find(entry()) is None
    monkeypatch.setenv(OLDEST, "40")
    np.testing.assert_array_equal(find(entry()), VALUES)


# --- the folder ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((LARGEST, t) for t in ("ten", "0", "-1", "nan", "inf", "10 GB")),
        (OLDEST, "0"),
        (OLDEST, "a month"),
    ],
)
def test_a_bad_number_is_refused_in_one_sentence(
    name: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(RequestError, match=f"{name} is '{text}', which is no number above zero"):
        read_cache.settings()
    assert not folder.exists()


def test_an_address_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "s3://bucket/cache")
    with pytest.raises(RequestError, match="GSSM_READ_CACHE is an address"):
        read_cache.settings()


def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "")
    monkeypatch.setenv(LARGEST, "ten")
    assert read_cache.settings() is None
    monkeypatch.setenv(FOLDER, "~/a")
    monkeypatch.setenv(LARGEST, "")
    asked = read_cache.settings()
    assert asked is not None
    assert asked.folder == Path.home() / "a"
    assert asked.most_bytes == 10e9
    assert asked.most_seconds == 30 * DAY


def test_a_folder_is_its_owners_alone(folder: Path) -> None:
    keep(entry(), VALUES, fail)
    assert folder.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in files(folder))


def test_a_folder_that_cannot_be_made_is_said_once(folder: Path) -> None:
    folder.write_text("a file")
    said: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: keep(entry(f"{HREF}{i}"), VALUES, said.append), range(64)))
    assert len(said) == 1
    assert str(folder) in said[0]
    assert FOLDER in said[0]
    assert find(entry()) is None


def test_a_full_disk_is_said_once_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(entry(), VALUES, fail)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        keep(entry("https://b.example/b.tif"), VALUES, said.append)
        keep(entry("https://b.example/c.tif"), VALUES, said.append)
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert files(folder) == [entry().path]
    assert find(entry()) is not None  # what is there is still read
    # After a rest it is tried again, and not spoken of again.
    monkeypatch.setattr(read_cache, "REST_SECONDS", 0.0)
    read_cache._writing.refuse(folder)
    keep(entry("https://b.example/b.tif"), VALUES, said.append)
    assert find(entry("https://b.example/b.tif")) is not None
    assert len(said) == 1


def test_what_was_not_used_longest_goes_first_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry(f"https://{i}.example/a.tif") for i in range(20)]
    taken = {here.path.parent.name for here in entries}
    free = next(name for name in (f"{n:02x}" for n in range(256)) if name not in taken)
    others = [folder / "notes.txt", folder / "ab" / "photo.tif", folder / free]
    (folder / "ab").mkdir(parents=True)
    for path in others:
        path.write_bytes(bytes(100_000))
    abandoned, unfinished = folder / "ab" / "tmpabc.part", folder / "ab" / "tmpdef.part"
    for path in (abandoned, unfinished):
        path.write_bytes(b"a")
    os.utime(abandoned, (1, 1))
    now = time.time()
    for age, here in enumerate(entries[:-1]):
        keep(here, VALUES, fail)
        os.utime(here.path, (now - 1000 + age, now - 1000 + age))
    find(entries[0])  # used again
    size = read_cache._size(entries[0].path.stat())
    monkeypatch.setenv(LARGEST, str(10 * size / 1e9))
    last = entry("https://19.example/a.tif")
    keep(last, VALUES, fail)
    left = [here for here in [*entries[:-1], last] if here.path.exists()]
    assert len(left) == 9
    assert left == [entries[0], *entries[11:-1][-7:], last]
    assert all(path.exists() for path in (*others, unfinished))
    assert not abandoned.exists()


def test_the_folder_stays_below_its_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LARGEST, "0.0004")
    values = np.random.default_rng(0).random((40, 40))
    for number in range(100):
        here = entry(f"https://{number}.example/a.tif", window=Window(0, 0, 40, 40))
        keep(here, values, fail)
        assert find(here) is not None
        assert sum(read_cache._size(f.stat()) for f in files(folder)) <= 0.0004e9
    assert len(files(folder)) > 15


PROCESS = """
import sys
import numpy as np
from rasterio.enums import Resampling
from rasterio.windows import Window
from gssm.describe import Raster
from gssm.read_cache import entry_of, find, keep

def fail(text):
    raise AssertionError(text)

found = 0
for turn in range(150):
    number = turn * 7 % 40
    grid = (32631, (0.0, 0.0, 1.0, 1.0), (10.0, 10.0))
    here = entry_of(Raster(f"https://a.example/{number}"), grid, Window(0, 0, 64, 64),
                    Resampling.bilinear, np.nan)
    values = np.random.default_rng(number).random((64, 64))
    kept = find(here)
    if kept is None:
        keep(here, values, fail)
    else:
        found += 1
        assert (kept == values).all()
print(found)
"""


def test_processes_and_threads_share_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which at the same time is too small for what they keep, so that all of them delete."""
    monkeypatch.setenv(LARGEST, "0.001")
    command = [sys.executable, "-W", "error", "-c", PROCESS]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    space: dict[str, Any] = {"__name__": "thread"}
    threads = [threading.Thread(target=exec, args=(PROCESS, dict(space))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in running:
        said, _ = process.communicate(timeout=50)
        assert process.returncode == 0
        assert int(said) > 0
    assert not [f for f in files(folder) if f.suffix != read_cache.SUFFIX]


# --- the line --------------------------------------------------------------------------------


@pytest.fixture
def site(scene: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(network, "_silent", {})
    monkeypatch.setattr(network, "BACKOFF_SECONDS", 0.02)
    with served(Site()) as running:
        with_files(running, scene)
        yield running


def cube_of(items: Any) -> xr.Dataset:
    """Of every sensor, with masks and elevation, in several chunks."""
    cube = gssm.open_cube(items, bbox=BBOX, chunks={"y": 20, "x": 24})
    return cube.compute(scheduler="threads", num_workers=2)


def forget_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a process of the same user would not know."""
    monkeypatch.setattr(opened, "_thread", opened._Thread())
    monkeypatch.setattr(sign, "_tokens", {})
    reader._CHOICES.clear()


def test_what_came_once_does_not_come_again_even_without_its_server(
    site: Site, scene: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER)
    items = gssm.search(BBOX, "2023-06", catalog=site.url)
    truth = cube_of(items)
    forget_all(monkeypatch)
    assert not folder.exists()
    monkeypatch.setenv(FOLDER, str(folder))
    xr.testing.assert_identical(cube_of(items), truth)
    assert len(files(folder)) > 50
    forget_all(monkeypatch)
    before = len(site.requests)
    xr.testing.assert_identical(cube_of(items), truth)
    assert len(site.requests) == before
    # A new model, or a cell that is run again on the train.
    forget_all(monkeypatch)
    for name in ("slot", "refuse_silent", "session", "note"):
        monkeypatch.setattr(network, name, lambda *a, name=name, **o: fail(name))
    monkeypatch.setattr(reader, "opened", lambda href: fail(href))
    site.closing.set()
    offline = cube_of(items)
    for name, values in truth.variables.items():
        assert offline[name].dtype == values.dtype
        assert offline[name].values.tobytes() == values.values.tobytes() or values.dtype == object
    assert float(truth["s2_b4"].notnull().mean()) > 0.3
    assert len(site.requests) == before


def test_without_its_server_and_without_a_signature(
    scene: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Site()) as site:
        with_files(site, scene)
        site.token_seconds = 3600
        token = f"{site.url}/token/a"
        monkeypatch.setitem(sign.SIGNERS, "127.0.0.1", lambda href: token)
        items = gssm.search(BBOX, "2023-06", catalog=site.url)
        first = cube_of(items)
        assert site.count("/token/")
    # The server is shut down, and there is no network to tell what its name stands for.
    forget_all(monkeypatch)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: fail("a connection"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: fail("a look-up"))
    xr.testing.assert_identical(cube_of(items), first)


def test_what_failed_is_tried_again_and_only_that(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = next(i for i in site.items if i["collection"] == "sentinel-1-sigma0")
    path = item["assets"]["vh"]["href"].removeprefix(site.url)
    site.rules.append(Rule(path, "404"))
    items = gssm.search(BBOX, "2023-06", catalog=site.url)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cube_of(items)["read_failed"].any()
    assert any(issubclass(w.category, GssmWarning) for w in caught)
    site.rules.clear()
    forget_all(monkeypatch)
    before = len(site.requests)
    assert not cube_of(items)["read_failed"].any()
    asked = {p for _, p, _ in site.requests[before:]}
    assert len(asked) == 1
    assert path in asked.pop()


def test_a_damaged_entry_comes_again(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = gssm.search(BBOX, "2023-06", catalog=site.url)
    first = cube_of(items)
    for number, file in enumerate(files(folder)):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] + b"x" * (number % 2))
    forget_all(monkeypatch)
    before = len(site.requests)
    xr.testing.assert_identical(cube_of(items), first)
    assert len(site.requests) > before


def test_a_cube_is_read_though_its_cache_cannot_be_written(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER)
    items = gssm.search(BBOX, "2023-06", catalog=site.url)
    truth = cube_of(items)
    forget_all(monkeypatch)
    folder.write_text("a file")
    monkeypatch.setenv(FOLDER, str(folder))
    with pytest.warns(GssmWarning, match="cannot be written") as caught:
        xr.testing.assert_identical(cube_of(items), truth)
    assert sum(issubclass(w.category, GssmWarning) for w in caught) == 1


def test_a_bad_number_is_refused_before_a_file_is_read(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = gssm.search(BBOX, "2023-06", catalog=site.url)
    monkeypatch.setenv(LARGEST, "ten")
    with pytest.raises(RequestError, match=LARGEST):
        cube_of(items)
    assert site.count("/files/") == 0


def test_local_images_are_not_kept(scene: Path, folder: Path) -> None:
    cube_of(gssm.search(BBOX, "2023-06", catalog=scene))
    assert not folder.exists()
