"""Where an item may lead: hosts in every spelling, paths, kinds of address."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm import addresses
from gssm.addresses import (
    MEMORY,
    Origin,
    network_of,
    objection,
    objection_to_opening,
    origin_of_api,
    origin_of_folder,
)

REMOTE = Origin()
LOOPBACK = Origin(frozenset({"public", "loopback"}))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        *((h, "loopback") for h in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1")),
        *((h, "loopback") for h in ("0177.0.0.1", "0", "0.0.0.0", "::1", "[::1]", "::")),
        *((h, "loopback") for h in ("localhost", "LOCALHOST.", "a.localhost", "::ffff:127.0.0.1")),
        *((h, "loopback") for h in ("2002:7f00:1::", "64:ff9b::7f00:1", "\uff1127.0.0.1")),
        *((h, "private") for h in ("10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1")),
        *(
            (h, "private")
            for h in ("fd00::1", "::ffff:10.0.0.1", "0xa000001", "store", "a.internal")
        ),
        *((h, "forbidden") for h in ("169.254.169.254", "2852039166", "0xa9fea9fe", "fe80::1")),
        *((h, "forbidden") for h in ("metadata.google.internal", "168.63.129.16", "224.0.0.1")),
        *((h, "forbidden") for h in ("::ffff:169.254.169.254", "fd00:ec2::254", "99999999999")),
        *((h, "public") for h in ("8.8.8.8", "example.com", "2001:4860:4860::8888")),
    ],
)
def test_hosts_in_every_spelling(host: str, network: str) -> None:
    assert network_of(host) == network


@given(st.integers(0, 2**32 - 1))
def test_every_spelling_of_a_number_is_the_same_host(number: int) -> None:
    parts = number.to_bytes(4)
    dotted = ".".join(map(str, parts))
    spellings = [str(number), hex(number), ".".join(map(hex, parts)), f"::ffff:{dotted}"]
    spellings.append(f"{parts[0]}.{number & 0xFFFFFF}")
    assert {network_of(s) for s in spellings} == {network_of(dotted)}


@pytest.mark.parametrize(
    "href",
    [
        *("file:///etc/passwd", "/etc/passwd", "FILE:///etc/passwd", "file://localhost/etc/passwd"),
        *(
            "/vsicurl/http://a.com/b",
            "/vsizip/a",
            "vrt:///a",
            "zip+https://a.com/b",
            "ftp://a.com/b",
        ),
        *("http://127.0.0.1/a", "https://localhost:8080/a", "http://[::1]/a", "http://0x7f.1/a"),
        *(
            "http://169.254.169.254/latest",
            "http://metadata.google.internal/a",
            "http://10.0.0.1/a",
        ),
        *("http://a.com@127.0.0.1/a", "http://127.0.0.1\\@a.com/a", "http://%31%32%37.0.0.1/a"),
        *("http:///a", "http://[fe80::1%25eth0]/a", "http://a.com:port/a", "http://a.com\n/a"),
        *("https+zip://a.com/b", "data:image/tiff;base64,AA", "GTIFF_DIR:1:/etc/passwd"),
        # Addresses to one reader, paths to the next.
        *("HTTP://a.com/../../../../etc/passwd", "S3://b/../../../../etc/passwd", "file:/etc/a"),
        *("gs:../../../../etc/passwd", "s3:/etc/passwd", "az:a", "s3://", "s3:///a.tif"),
        *("s3://bucket/a.xml::http://169.254.169.254/a", "http://a.com/\ud800.tif", "/a\ud800"),
    ],
)
def test_what_a_remote_catalogue_must_not_name(href: str) -> None:
    assert objection(href, REMOTE)


@pytest.mark.parametrize(
    "href",
    [
        "https://a.blob.core.windows.net/b/c.tif?se=2030&sig=a%2Fb",
        *("s3://bucket/a b.tif", "gs://bucket/a.tif", "az://bucket/a.tif", "http://8.8.8.8/a.tif"),
    ],
)
def test_what_it_may_name(href: str) -> None:
    assert not objection(href, REMOTE)
    assert not objection(href, MEMORY)


def test_loopback_assets_from_a_loopback_catalogue_only() -> None:
    assert origin_of_api("http://127.0.0.1:8000/stac") == LOOPBACK
    assert not objection("http://localhost:9000/a.tif", LOOPBACK)
    assert "and its catalogue is not" in objection("http://127.0.0.1/a.tif", REMOTE)
    assert objection("http://169.254.169.254/a.tif", LOOPBACK)
    assert objection("http://10.0.0.1/a.tif", LOOPBACK)
    assert objection("http://127.0.0.1/a.tif", MEMORY)


def test_local_files_under_the_folder_only(tmp_path: Path) -> None:
    folder, secret = tmp_path / "catalogue", tmp_path / "secret.tif"
    (folder / "a").mkdir(parents=True)
    secret.write_bytes(b"1")
    (folder / "a" / "b c.tif").write_bytes(b"1")
    origin = origin_of_folder(folder)
    assert not objection(str(folder / "a" / "b c.tif"), origin)
    assert not objection(f"file://{folder}/a/b%20c.tif", origin)
    for href in (str(secret), f"{folder}/../secret.tif", f"file://{folder}/%2e%2e/secret.tif"):
        assert "lies outside" in objection(href, origin)
        assert not objection(href, MEMORY)


@pytest.mark.parametrize("mark", ["?", "#", "%3F", "a?b#"])
def test_the_path_that_is_checked_is_the_one_that_is_opened(tmp_path: Path, mark: str) -> None:
    folder, secret = tmp_path / "catalogue", tmp_path / "secret.tif"
    folder.mkdir()
    secret.write_bytes(b"1")
    origin = origin_of_folder(folder)
    for start in (folder, tmp_path / "none"):
        href = f"file://{start}/x{mark}/../../secret.tif"
        place = os.path.abspath(addresses.local_path(href))
        assert objection(href, origin) or place != str(secret)


def test_names_are_looked_up_when_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"evil.example.com": "169.254.169.254", "in.example.com": "10.0.0.1"}

    def look_up(name: str, *_: Any, **__: Any) -> Any:
        if name not in known:
            raise socket.gaierror
        return [(2, 1, 6, "", (known[name], 0)), (2, 1, 6, "", ("8.8.8.8", 0))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(addresses, "_reached", set())
    addresses._looked_up.cache_clear()
    assert not objection("http://evil.example.com/a", REMOTE)
    assert "link-local" in objection_to_opening("http://evil.example.com/a")
    assert "GSSM_NETWORKS" in objection_to_opening("http://in.example.com/a")
    assert not objection_to_opening("http://unknown.example.com/a")
    monkeypatch.setenv("GSSM_NETWORKS", "private")
    assert not objection_to_opening("http://in.example.com/a")
    assert objection_to_opening("http://evil.example.com/a")
    addresses._looked_up.cache_clear()


def test_no_real_item_is_refused(test_data: Path) -> None:
    count = 0
    for file in sorted((test_data / "stac").rglob("*.json")):
        record = json.loads(file.read_text())
        features = record.get("features", [record]) if isinstance(record, dict) else []
        for item in features:
            for asset in (item.get("assets") or {}).values():
                if "://" not in asset["href"]:
                    continue  # of items that were made on a disk
                reason = objection(asset["href"], REMOTE)
                assert not reason, (file.name, asset["href"], reason)
                count += 1
    assert count > 500
