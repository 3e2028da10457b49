"""The line through a real STAC API, with assets read over HTTP: servers on the loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sys import executable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import uvicorn
import xarray as xr
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import gssm
from gssm.errors import EmptySearchError, GssmWarning, UnknownCatalogError
from gssm.reader import GDAL_OPTIONS
from imagery import write_tif

BBOX = (3.0195, 50.8132, 3.0282, 50.8187)
DATES = "2018-07-01/2018-07-10"
START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Recorder:
    """ASGI middleware that keeps method, path, Range header and status of every request."""

    app: ASGIApp
    seen: list[tuple[str, str, str, int]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        wanted = dict(scope["headers"]).get(b"range", b"").decode()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                self.seen.append((scope["method"], scope["path"], wanted, status))
            await send(message)

        await self.app(scope, receive, note)


@contextmanager
def file_server(folder: Path) -> Iterator[tuple[str, Recorder]]:
    """Serve a folder with range requests, in a thread of this process."""
    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    recorder = Recorder(app)
    config = uvicorn.Config(
        recorder, host="127.0.0.1", port=0, lifespan="off", log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", recorder
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        assert not thread.is_alive()


@contextmanager
def stac_server(items: Path) -> Iterator[str]:
    """Serve an ItemCollection as a STAC API with rustac, in a process of its own."""
    port = free_port()
    command = [str(Path(executable).with_name("rustac")), "serve", str(items)]
    process = subprocess.Popen(
        [*command, "-a", f"127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            assert process.poll() is None, "rustac stopped"
            assert time.monotonic() < deadline, "rustac did not start"
            time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def over_http(flanders: Path, url: str) -> list[dict[str, Any]]:
    """Items of the folder with their files at a URL."""
    items: list[dict[str, Any]] = []
    for file in sorted(flanders.glob("*.json")):
        for item in json.loads(file.read_text())["features"]:
            for asset in item["assets"].values():
                asset["href"] = f"{url}/{asset['href'].removeprefix('./')}"
            items.append(item)
    return items


@pytest.fixture(scope="module")
def files(flanders: Path) -> Iterator[tuple[str, Recorder]]:
    with file_server(flanders) as served:
        yield served


@pytest.fixture(scope="module")
def api(
    flanders: Path, files: tuple[str, Recorder], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    items = tmp_path_factory.mktemp("stac") / "items.json"
    features = over_http(flanders, files[0])
    items.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with stac_server(items) as url:
        yield url


def sorted_ids(items: Any) -> list[tuple[str | None, str]]:
    return sorted((item.collection_id, item.id) for item in items)


@pytest.mark.parametrize("cloud", [0, 60, 100])
def test_search_finds_what_the_folder_holds(flanders: Path, api: str, cloud: float) -> None:
    options: dict[str, Any] = {"bbox": BBOX, "max_cloud_cover": cloud}
    for dates in ("2018-05-01/2018-09-30", "2018-07-02", ("2018-07-01T00:00Z", "2018-07-05T12:00")):
        here = gssm.search(datetime=dates, catalog=flanders, **options)
        there = gssm.search(datetime=dates, catalog=api, **options)
        assert sorted_ids(there) == sorted_ids(here)
        assert there.extra_fields["gssm:bbox"] == list(BBOX)


def test_search_pages_through_more_than_one_answer(flanders: Path, api: str) -> None:
    # More radar items than the server gives at once.
    dates = "2017-08-01/2018-11-30"
    here, there = (
        gssm.search(BBOX, dates, catalog=source, max_cloud_cover=100) for source in (flanders, api)
    )
    assert sorted_ids(there) == sorted_ids(here)
    assert len(there) == 159 + 71 + 26 + 1  # README of the test data


def test_empty_search(api: str) -> None:
    with pytest.raises(EmptySearchError, match=f"no Sentinel-1 item in {api}"):
        gssm.search(BBOX, "2016-01", catalog=api)
    with pytest.raises(EmptySearchError, match="move the box"):
        gssm.search((10, 10, 11, 11), DATES, catalog=api)


def test_matchups_and_cube_are_those_of_the_folder(
    flanders: Path, files: tuple[str, Recorder], api: str
) -> None:
    here = gssm.search(BBOX, DATES, catalog=flanders)
    there = gssm.search(BBOX, DATES, catalog=api)
    assert all(a.href.startswith("http://127.0.0.1") for i in there for a in i.assets.values())
    pd.testing.assert_frame_equal(
        gssm.matchups(there, measure=True), gssm.matchups(here, measure=True)
    )
    requests = files[1].seen
    requests.clear()
    seen = gssm.open_cube(there)
    assert not requests, "building a cube opened a file"
    xr.testing.assert_identical(seen.compute(), gssm.open_cube(here).compute())
    assert seen.sizes["time"] >= 2
    assert bool(seen["s2_b4"].notnull().any())

    # Real range requests: every read of pixels is answered with 206 Partial Content.
    reads = [r for r in requests if r[0] == "GET"]
    assert reads
    assert all(wanted.startswith("bytes=") for _, _, wanted, _ in reads)
    assert {status for _, _, _, status in reads} == {206}
    # No listing of folders, no side files (.aux.xml, .ovr, .msk).
    assert {path.rsplit(".", 1)[-1] for _, path, _, _ in requests} == {"tif"}


def test_only_the_part_that_is_needed_is_read(tmp_path: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    numbers = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
    path = Path(write_tif(tmp_path / "big.tif", numbers, **tiled))
    with file_server(tmp_path) as (url, recorder), rasterio.Env(**GDAL_OPTIONS):
        with rasterio.open(f"{url}/big.tif") as file:
            file.read(1, window=rasterio.windows.Window(1000, 1000, 8, 8))
        wanted = [r[2].removeprefix("bytes=").split("-") for r in recorder.seen if r[2]]
        total = sum(int(last) - int(first) + 1 for first, last in wanted)
    assert wanted
    assert total < path.stat().st_size / 4


def test_a_file_that_is_gone_is_named_and_flagged(
    files: tuple[str, Recorder], api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the pause between attempts
    url, recorder = files
    items = gssm.search(BBOX, "2018-07-02", catalog=api)
    (radar,) = [i for i in items if i.collection_id == "sentinel-1-sigma0"]
    radar.assets["vv"].href = f"{url}/gone/{radar.id}.tif"
    cube = gssm.open_cube(items)[["vv", "vh", "read_failed"]]
    with pytest.warns(GssmWarning, match=f"item '{radar.id}' is skipped where {url}/gone"):
        seen = cube.compute(scheduler="synchronous")
    assert seen["vv"].isnull().all()
    assert seen["vh"].notnull().all()
    assert seen["read_failed"].all()
    assert 404 in {status for *_, status in recorder.seen}


def test_a_server_without_known_collections_says_what_it_has(
    flanders: Path, tmp_path: Path
) -> None:
    (item,) = json.loads((flanders / "dem.json").read_text())["features"]
    items = tmp_path / "items.json"
    record = {"type": "FeatureCollection", "features": [{**item, "collection": "lidar"}]}
    items.write_text(json.dumps(record))
    with (
        stac_server(items) as url,
        pytest.raises(UnknownCatalogError, match=f"{url} offers no collection that gssm knows"),
    ):
        gssm.search(BBOX, DATES, catalog=url)
