"""Signatures: made when a file is opened, renewed before they end, asked for once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio

from fault_server import Site, served
from gssm import addresses, network, sign
from gssm import opened as module
from gssm.network import NetworkError
from gssm.opened import Opened, opened
from gssm.reader import GDAL_OPTIONS
from imagery import write_tif


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    write_tif(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    site = Site(folder=tmp_path, token_seconds=3600, token_path="/files/")
    monkeypatch.setattr(network, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(network, "_silent", {})
    monkeypatch.setattr(sign, "_tokens", {})
    monkeypatch.setattr(module, "_thread", module._Thread())
    monkeypatch.setattr(addresses, "_reached", {"loopback"})
    with served(site):
        monkeypatch.setitem(sign.SIGNERS, "127.0.0.1", lambda href: f"{site.url}/token/a")
        yield site


def file_of(site: Site) -> Opened:
    with rasterio.Env(**GDAL_OPTIONS):
        return opened(f"{site.url}/files/a.tif")


def read(site: Site) -> float:
    with rasterio.Env(**GDAL_OPTIONS):
        return float(file_of(site).dataset.read(1)[0, 0])


def test_one_token_serves_all_files_and_threads(site: Site) -> None:
    hrefs = [f"{site.url}/files/{number}.tif" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        signed = list(pool.map(sign.signed, hrefs))
    assert site.count("/token/") == 1
    assert all("sig=" in href for href in signed)


def test_a_file_is_opened_anew_before_its_signature_ends(site: Site) -> None:
    assert read(site) == 1
    first = file_of(site)
    assert read(site) == 1
    assert file_of(site) is first
    assert site.count("/token/") == 1
    assert first.expires == pytest.approx(time.time() + 3600, abs=5)


def test_a_token_near_its_end_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    read(site)
    first = file_of(site)
    monkeypatch.setattr(sign, "MARGIN_SECONDS", 4000.0)
    assert not sign.is_current(first.expires)
    read(site)
    assert file_of(site) is not first
    assert site.count("/token/") > 1


def test_without_a_signature_nothing_ends() -> None:
    assert sign.expires("https://example.com/a.tif") == math.inf
    assert sign.expiry_of("https://a.com/b?se=1970-01-01T00:01:00Z&sig=a") == 60
    assert sign.expiry_of("https://a.com/b?se=tomorrow") == math.inf


def test_what_must_not_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_reached", set())
    for href in ("/vsicurl/http://a.com", "vrt:///a", "http://127.0.0.1/a", "http://[::1]/a"):
        with pytest.raises(NetworkError, match="so gssm does not open it"):
            sign.signed(href)


def test_planetary_computer_asks_by_account_and_container() -> None:
    href = "https://account.blob.core.windows.net/container/a/b.tif"
    assert sign._token_source(href).endswith("/account/container")  # type: ignore[union-attr]
    assert sign._token_source("https://ai4edatasetspublicassets.blob.core.windows.net/a") is None
    assert sign._token_source("s3://bucket/a.tif") is None
