"""Files beside an image: read within bounds, and failing as the image itself would."""

from __future__ import annotations

import builtins
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import gssm
from fault_server import HTML, SPOILERS, Handler, Rule, Site, served, with_files
from gssm import addresses, annotation, grd, network, sidecar
from gssm.errors import GssmWarning
from gssm.network import NetworkError
from gssm.sidecar import read_bytes
from provider_scenes import EARTH_SEARCH_GRD, ground_bbox, sentinel1_grd, write_folder

# rasterio says so of a GRD file, which control points place and no transform.
pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.timeout(30),
]
CALIBRATION = "calibration-iw-vv.xml"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grd")
    return write_folder(folder, sentinel1_grd(folder, EARTH_SEARCH_GRD))


@pytest.fixture
def site(catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(network, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(network, "BACKOFF_SECONDS", 0.02)
    monkeypatch.setattr(network, "_silent", {})
    monkeypatch.setattr(addresses, "_reached", {"loopback"})
    with served(Site()) as running:
        with_files(running, catalogue)
        yield running


def radar_of(site: Site, **options: Any) -> tuple[xr.Dataset, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        items = gssm.search(ground_bbox(), "2023-06", catalog=site.url)
        cube = gssm.open_cube(items, **options)[["vv", "vh", "read_failed"]].compute()
    return cube, [str(w.message) for w in caught if issubclass(w.category, GssmWarning)]


def half(handler: Handler) -> None:
    handler.send(200, b'<?xml version="1.0"?><calibration><adsHeader>', "text/xml")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("404", "HTTP 404"),
        ("403", "HTTP 403"),
        ("503", "HTTP 503"),
        ("web page", "a web page"),
        ("truncated", "cut short"),
        ("hang", "did not answer in time"),
        ("half", "is not XML"),
    ],
)
def test_a_calibration_that_fails_is_a_gap_that_names_it(
    site: Site, fault: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPOILERS, "half", half)
    site.rules.append(Rule(CALIBRATION, fault))
    with dask.config.set(scheduler="synchronous"):
        cube, said = radar_of(site)
    assert cube["read_failed"].all()
    assert np.isnan(cube["vv"]).all()
    assert cube["vh"].notnull().any()
    assert any(cause in text and CALIBRATION in text for text in said), said
    assert site.count(CALIBRATION) <= 12


def test_a_calibration_that_fails_once_is_read_again(site: Site) -> None:
    for fault in ("503", "truncated"):
        site.rules.append(Rule(CALIBRATION, fault, times=1))
    with dask.config.set(scheduler="synchronous"):
        cube, said = radar_of(site)
    assert not said
    assert not cube["read_failed"].any()
    assert cube["vv"].notnull().any()


def test_more_threads_than_places_do_not_wait_for_each_other_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each holds a place for the image while it asks the same host for what lies beside it.
    monkeypatch.setattr(network, "PER_HOST", 2)
    cached = (annotation._annotation, annotation._calibration, annotation._noise, grd._scene)
    for function in (*cached, grd._geolocation):
        function.cache_clear()
    with ThreadPoolExecutor(6) as pool, dask.config.set(pool=pool):
        cube, said = radar_of(site, chunks={"y": 32, "x": 32})
    assert not said
    assert not cube["read_failed"].any()


def test_a_thread_that_has_a_place_needs_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PER_HOST", 1)
    done = threading.Event()

    def read() -> None:
        with network.slot("https://nested.example.com/a.tif"):
            with network.slot("https://nested.example.com/a.xml"):
                done.set()
            assert not network._slots["nested.example.com"].acquire(blocking=False)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert done.wait(5)
    thread.join(5)
    assert network._slots["nested.example.com"].acquire(blocking=False)  # given back
    network._slots["nested.example.com"].release()


def test_a_host_that_is_silent_is_not_asked_for_xml_either(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    href = f"{site.url}/files/none.xml"
    for _ in range(network.MOST_SILENT):
        network.note(href, NetworkError("timeout"))
    with pytest.raises(NetworkError, match="in time") as told:
        read_bytes(href)
    assert told.value.address == href
    assert not site.count("none.xml")


def test_a_path_is_opened_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b.xml").write_text("<a/>")
    assert read_bytes(f"file://{tmp_path}/a%20b.xml") == b"<a/>"
    # fsspec would take what follows for an address of its own.
    asked: list[str] = []
    really = builtins.open
    monkeypatch.setattr(builtins, "open", lambda p, *a: asked.append(str(p)) or really(p, *a))
    with pytest.raises(OSError, match="No such file"):
        read_bytes(f"{tmp_path}/a.xml::http://127.0.0.1/b.xml")
    assert asked == [f"{tmp_path}/a.xml::http://127.0.0.1/b.xml"]


def test_what_a_store_says_of_a_missing_login_is_an_error_of_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import fsspec

    class NoCredentialsError(Exception):
        pass

    def refuse(*_: Any) -> Any:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(OSError, match=r"s3://bucket/a.xml could not be read: Unable to locate"):
        read_bytes("s3://bucket/a.xml")


def test_a_web_page_and_a_giant_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.rules.append(Rule("page.xml", "web page"))
    with pytest.raises(NetworkError, match="web page"):
        read_bytes(f"{site.url}/files/page.xml")
    monkeypatch.setattr(sidecar, "LARGEST", len(HTML) - 1)
    with pytest.raises(NetworkError, match="larger than any"):
        read_bytes(f"{site.url}/files/page.xml")
