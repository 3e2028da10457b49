"""Waiting, giving up, and what is said: the parts of `gssm.network`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
import rasterio

from fault_server import SPOILERS, Handler, Rule, Site, drip, redirect, served
from gssm import addresses, deadline, network
from gssm.network import FAULTS, NetworkError, of_gdal, of_status, redacted
from gssm.opened import opened
from gssm.reader import GDAL_OPTIONS
from imagery import write_tif


def test_retry_after_in_seconds_or_as_a_date() -> None:
    assert of_status(429, {"Retry-After": "7"}).wait == 7
    later = formatdate(time.time() + 30, usegmt=True)
    assert of_status(503, {"Retry-After": later}).wait == pytest.approx(30, abs=2)
    assert of_status(503, {"Retry-After": "soon"}).wait is None
    assert of_status(429, {"Retry-After": "86400"}).is_final(0)


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(network, "sleep", slept.append)
    for attempt in (0, 1, 2, 2):
        network.pause(NetworkError("server", "500"), attempt)
    assert slept[0] < 1 <= slept[2] <= 3
    assert slept[2] != slept[3]
    network.pause(NetworkError("throttled", wait=9.0), 0)
    assert slept[-1] == 9


def test_every_failure_says_cause_and_fix() -> None:
    for kind, fault in FAULTS.items():
        error = NetworkError(kind, "x")
        assert "{" not in str(error)
        assert fault.fix
        assert error.is_final(fault.attempts - 1)
    assert NetworkError("missing").is_final(0)
    assert not NetworkError("forbidden").is_final(0)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("HTTP response code: 404", "missing"),
        ("HTTP response code on https://a/b.tif: 403", "forbidden"),
        ("The specified key does not exist", "missing"),
        ("Access Denied", "forbidden"),
        ("Operation timed out after 60000 milliseconds", "timeout"),
    ],
)
def test_words_of_gdal(message: str, kind: str) -> None:
    found = of_gdal(message)
    assert found is not None
    assert found.kind == kind
    assert of_gdal("'/a.tif' not recognized as being in a supported file format") is None


def test_signatures_are_not_shown() -> None:
    assert redacted("'https://a/b.tif?se=1&sig=secret' is bad") == "'https://a/b.tif' is bad"
    assert redacted("https://me:secret@a.com/b is bad") == "https://a.com/b is bad"


def test_a_host_has_so_many_places_and_no_more() -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def read(number: int) -> None:
        nonlocal busy, most
        with network.slot(f"https://places.example.com/{number}.tif"):
            with lock:
                busy += 1
                most = max(most, busy)
            time.sleep(0.01)
            with lock:
                busy -= 1

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(read, range(48)))
    assert most == network.PER_HOST


def test_a_silent_host_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_silent", {})
    href = "https://silent.example.com/a.tif"
    for _ in range(network.MOST_SILENT):
        network.refuse_silent(href)
        network.note(href, NetworkError("timeout"))
    with pytest.raises(NetworkError, match="did not answer in time"):
        network.refuse_silent(href)
    network.refuse_silent("https://other.example.com/a.tif")
    monkeypatch.setattr(network, "REST_SECONDS", 0.0)
    network.note(href, NetworkError("timeout"))
    network.refuse_silent(href)
    network.note(href, None)
    assert not network._silent


def test_a_refusal_does_not_prolong_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    href = "https://silent.example.com/a.tif"
    until = time.monotonic() + 60
    monkeypatch.setattr(network, "_silent", {network.host_of(href): (network.MOST_SILENT, until)})
    with pytest.raises(NetworkError, match="again and again") as refused:
        network.refuse_silent(href)
    assert refused.value.is_final(0)
    network.note(href, refused.value)
    assert network._silent == {network.host_of(href): (network.MOST_SILENT, until)}


def test_after_a_rest_one_thread_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    href = "https://silent.example.com/a.tif"
    past = time.monotonic() - 1
    monkeypatch.setattr(network, "_silent", {network.host_of(href): (network.MOST_SILENT, past)})
    with ThreadPoolExecutor(1) as other:
        network.refuse_silent(href)
        network.refuse_silent(href)  # its second attempt, or what lies beside the image
        with pytest.raises(NetworkError, match="again and again"):
            other.submit(network.refuse_silent, href).result()
        network.note(href, None)
        other.submit(network.refuse_silent, href).result()


def test_where_the_process_ends_nobody_waits_or_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    href = "https://a.example.com/a.tif"
    monkeypatch.setattr(deadline, "_ended", deadline.Ending())
    error = NetworkError("throttled", wait=60.0)
    with ThreadPoolExecutor(1) as pool:
        pausing = pool.submit(network.pause, error, 0)
        deadline.end()
        with pytest.raises(deadline.EndedError):
            pausing.result(10)
    for ask in (network.refuse_silent, network.probe, network.fetch_json, _hold):
        with pytest.raises(deadline.EndedError):
            ask(href, *([{"loopback"}] if ask in (network.probe, network.fetch_json) else []))
    with pytest.raises(deadline.EndedError):  # else a warning would follow
        network.note(href, error)


def _hold(href: str) -> None:
    with network.slot(href):
        pass


def test_a_longer_wait_than_is_given_is_said() -> None:
    assert "asks to wait 86400 seconds" in str(of_status(503, {"Retry-After": "86400"}))
    assert "asks to wait" not in str(of_status(503, {"Retry-After": "7"}))


def test_what_follows_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of an answer in chunks the last one may be followed by lines without end.
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.4)

    def chunks(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        handler.wfile.write(b"2\r\n{}\r\n0\r\n")
        while not handler.site.closing.wait(0.05):
            handler.wfile.write(b"a: b\r\n")

    monkeypatch.setitem(SPOILERS, "chunks", chunks)
    begin = time.monotonic()
    with (
        served(Site(rules=[Rule("", "chunks")])) as site,
        pytest.raises(NetworkError, match="in time"),
    ):
        network.fetch_json(f"{site.url}/a", {"loopback"}, attempts=1)
    assert time.monotonic() - begin < 10


def test_a_proxy_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(addresses, "_reached", {"loopback"})
    monkeypatch.setattr(Handler, "do_CONNECT", drip, raising=False)
    begin = time.monotonic()
    with served(Site()) as site:
        monkeypatch.setenv("https_proxy", site.url)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(NetworkError, match="in time"):
            network.fetch_json("https://127.0.0.1:9/a", {"loopback"}, attempts=1)
    assert time.monotonic() - begin < 10


def test_headers_that_drip_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(network, "BACKOFF_SECONDS", 0.01)
    begin = time.monotonic()
    with served(Site(rules=[Rule("", "headers that drip")])) as site:
        for ask in (network.probe, network.fetch_json):
            with pytest.raises(NetworkError, match="in time"):
                ask(f"{site.url}/a", {"loopback"})
    assert time.monotonic() - begin < 10


def test_a_redirect_to_where_it_may_lead_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_reached", {"loopback"})
    write_tif(tmp_path / "a.tif", np.full((4, 4), 5, np.float32))

    def elsewhere(handler: Handler) -> None:
        redirect(f"{handler.site.url}/files/a.tif")(handler)

    monkeypatch.setitem(SPOILERS, "elsewhere", elsewhere)
    with served(Site(folder=tmp_path, rules=[Rule("moved.tif", "elsewhere")])) as site:
        with rasterio.Env(**GDAL_OPTIONS):
            assert opened(f"{site.url}/files/moved.tif").dataset.read(1)[0, 0] == 5
        # GDAL was given the last address: it never meets a redirect.
        assert site.count("moved.tif") == 1


def test_a_virtual_raster_under_an_innocent_name_is_not_followed(tmp_path: Path) -> None:
    target = write_tif(tmp_path / "secret.tif", np.ones((4, 4), np.float32))
    source_line = f"<SourceFilename>{target}</SourceFilename>"
    (tmp_path / "a.tif").write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><SRS>EPSG:32631</SRS>'
        "<GeoTransform>0, 10, 0, 0, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f"{source_line}<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(tmp_path / "a.tif") as followed:
        assert followed.read(1)[0, 0] == 1  # what GDAL does if it is not told otherwise
    with pytest.raises(rasterio.errors.RasterioIOError):
        opened(str(tmp_path / "a.tif"))


def test_files_of_this_machine_need_no_place() -> None:
    with ExitStack() as places:
        for _ in range(3 * network.PER_HOST):
            thread = threading.Thread(target=lambda: places.enter_context(network.slot("/a.tif")))
            thread.start()
            thread.join(5)
            assert not thread.is_alive()
