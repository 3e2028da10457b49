"""Every fault of a server ends in the right map, a listed gap or a clear error."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import gssm
from fault_cases import CASES, SIDECARS, Case, page
from fault_server import Rule, Site, served, with_files
from gssm import network, reader, sign
from gssm.errors import CatalogUnreachableError, EmptySearchError, GssmWarning
from provider_scenes import (
    EARTH_SEARCH_GRD,
    ground_bbox,
    landsat_level1,
    sentinel1_grd,
    write_folder,
)

BBOX = (3.0200, 50.8155, 3.0245, 50.8185)
BANDS = ["vv", "vh", "read_failed"]
SECONDS = 20  # for one fault; each takes 1 or 2

pytestmark = [
    # rasterio says so of a GRD file, which control points place and no transform.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.timeout(SECONDS),
]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gssm.simulate import simulate_scene

    folder = tmp_path_factory.mktemp("faults") / "catalogue"
    simulate_scene(folder, size=24, dates=2)
    for name in ("sentinel-2-l2a", "landsat-c2-l2"):  # the radar and the elevation will do
        (folder / f"{name}.json").unlink()
    return folder


@pytest.fixture(scope="module")
def truth(catalogue: Path) -> xr.Dataset:
    return cube_of(gssm.search(BBOX, "2023-06", catalog=catalogue))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of fractions of a second, and files read in many small requests."""
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(network, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.8)
    monkeypatch.setattr(network, "_silent", {})
    monkeypatch.setattr(network, "BACKOFF_SECONDS", 0.02)
    options = {"GDAL_HTTP_TIMEOUT": 0.6, "CPL_VSIL_CURL_CHUNK_SIZE": 1024, "VSI_CACHE": False}
    for name, value in options.items():
        monkeypatch.setitem(reader.GDAL_OPTIONS, name, value)


@pytest.fixture
def site(catalogue: Path) -> Iterator[Site]:
    with served(Site()) as running:
        with_files(running, catalogue)
        yield running


def cube_of(items: Any) -> xr.Dataset:
    return gssm.open_cube(items, bbox=BBOX)[BANDS].compute(scheduler="synchronous")


def victim(site: Site) -> tuple[str, str]:
    """The id of the first radar item and the path of its VH file."""
    item = next(i for i in site.items if i["collection"] == "sentinel-1-sigma0")
    return item["id"], item["assets"]["vh"]["href"].removeprefix(site.url)


def run(site: Site) -> tuple[xr.Dataset | Exception, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result: xr.Dataset | Exception
        try:
            result = cube_of(gssm.search(BBOX, "2023-06", catalog=site.url))
        except (CatalogUnreachableError, EmptySearchError) as error:
            result = error
    return result, [str(w.message) for w in caught if issubclass(w.category, GssmWarning)]


def prepare(site: Site, case: Case, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the rule of a case; return the id of the item that it strikes."""
    name, path = victim(site)
    pattern = {"search": "/search", "pixels": path, "token": "/token/"}[case.stage]
    if case.stage == "token":
        site.token_seconds, site.token_path = 3600, path
        token = f"{site.url}/token/a"
        monkeypatch.setitem(sign.SIGNERS, "127.0.0.1", lambda href: token if path in href else "")
    site.rules.append(Rule(pattern, case.fault, case.times, case.after))
    return name


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.stage not in SIDECARS], ids=lambda case: case.name
)
def test_fault(case: Case, site: Site, truth: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    name = prepare(site, case, monkeypatch)
    begin = time.monotonic()
    result, said = run(site)
    assert time.monotonic() - begin < SECONDS / 2
    assert site.rules[0].seen > case.after, "the fault was not injected"
    if case.outcome == "error":
        assert isinstance(result, CatalogUnreachableError | EmptySearchError)
        assert case.says in str(result)
        return
    if case.outcome == "left out":
        assert isinstance(result, EmptySearchError)  # both radar items lead astray
        assert any(case.says in text and repr(name) in text for text in said)
        return
    assert isinstance(result, xr.Dataset), result
    failed = result["read_failed"].values
    for band in ("vv", "vh"):
        seen, expected = result[band].values, truth[band].values
        np.testing.assert_array_equal(seen[~failed], expected[~failed])
    if case.outcome == "map":
        assert not failed.any()
        assert not said
    else:
        assert failed[0].all()
        assert not failed[1].any()
        assert np.isnan(result["vh"].values[failed]).all()
        assert any(
            case.says in text and repr(name) in text and victim(site)[1] in text for text in said
        ), said


# What a sidecar is for, its file, and a band of the same acquisition that needs another one.
NEEDS = {
    "annotation": ("vv", "/annotation/iw-vv.xml", "vh"),
    "calibration": ("vv", "calibration-iw-vv.xml", "vh"),
    "noise": ("vv", "noise-iw-vv.xml", "vh"),
    "MTL": ("landsat_b4", "_MTL.txt", "vv"),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Catalogues of a Sentinel-1 GRD scene, without and with a Landsat Level-1 scene."""
    folders = {name: tmp_path_factory.mktemp("faults") / name for name in ("grd", "level1")}
    for folder in folders.values():
        landsat = landsat_level1(folder) if folder.name == "level1" else []
        write_folder(folder, [*sentinel1_grd(folder, EARTH_SEARCH_GRD), *landsat])
    return folders


def level1_of(catalog: str | Path, bands: tuple[str, ...]) -> tuple[xr.Dataset, list[str]]:
    """A few pixels in the middle of the ground, and what was said."""
    west, south, east, north = ground_bbox()
    x, y = (west + east) / 2, (south + north) / 2
    bbox = (x - 2e-4, y - 2e-4, x + 2e-4, y + 2e-4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        items = gssm.search(bbox, "2023-06", catalog=catalog, level="l1")
        cube = gssm.open_cube(items, bbox=bbox)[[*bands, "read_failed"]]
        cube = cube.compute(scheduler="synchronous")
    return cube, [str(w.message) for w in caught if issubclass(w.category, GssmWarning)]


@pytest.fixture(scope="module")
def scenes_truth(scenes: dict[str, Path]) -> xr.Dataset:
    return level1_of(scenes["level1"], ("vv", "vh", "landsat_b4"))[0]


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.stage in SIDECARS], ids=lambda case: case.name
)
def test_fault_beside_an_image(
    case: Case, scenes: dict[str, Path], scenes_truth: xr.Dataset
) -> None:
    band, path, other = NEEDS[case.stage]
    with served(Site(rules=[Rule(path, case.fault, case.times)])) as site:
        with_files(site, scenes["level1" if case.stage == "MTL" else "grd"])
        result, said = level1_of(site.url, (band, other))
        assert site.rules[0].seen, "the fault was not injected"
    np.testing.assert_array_equal(result[other], scenes_truth[other])
    if case.outcome == "map":
        np.testing.assert_array_equal(result[band], scenes_truth[band])
        assert not result["read_failed"].any()
        assert not said
    else:
        assert result[band].isnull().all()
        assert result["read_failed"].all()
        # Files that do not belong together are told by the name of the image.
        of_image = case.fault == "of another scene"
        named = {"MTL": "_B"}.get(case.stage, "measurement/iw-vv.tiff") if of_image else path
        assert any(case.says in text and named in text for text in said), said


def test_the_page_is_made_of_the_table() -> None:
    assert Path(__file__).parents[1].joinpath("docs", "faults.md").read_text() == page()


def test_there_are_enough_faults() -> None:
    assert len({(case.stage, case.fault) for case in CASES}) >= 25
    assert len({case.name for case in CASES}) == len(CASES)
