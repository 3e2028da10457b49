"""The simulated scene: a catalogue as a user has it, and truth that the radar follows."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
import xarray as xr

from gssm.errors import RequestError, StoreExistsError
from gssm.physics import linear_to_decibel, normalized_difference
from gssm.simulate import oh_2004, simulate_items, simulate_scene, soil_reflectance

STEMS = ("sentinel-1-sigma0", "sentinel-2-l2a", "landsat-c2-l2", "dem")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("scene")
    truth = simulate_scene(folder)
    items = {s: json.loads((folder / f"{s}.json").read_text())["features"] for s in STEMS}
    return SimpleNamespace(folder=folder, truth=truth, items=items)


def read(folder: Path, item: dict[str, Any], asset: str) -> np.ndarray[Any, Any]:
    with rasterio.open(folder / item["assets"][asset]["href"]) as file:
        return np.asarray(file.read(1))


def time(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["properties"]["datetime"])


def days_apart(truth_time: np.datetime64, item: dict[str, Any]) -> float:
    difference = truth_time - np.datetime64(time(item).replace(tzinfo=None), "ns")
    return float(abs(difference / np.timedelta64(1, "D")))


def reflectance(folder: Path, item: dict[str, Any], asset: str) -> np.ndarray[Any, Any]:
    offset = -0.1 if float(item["properties"]["s2:processing_baseline"]) >= 4 else 0.0
    return read(folder, item, asset) * 1e-4 + offset


def test_import_is_light() -> None:
    code = "import sys, gssm.simulate; print(*({'rasterio', 'pystac', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_same_seed_makes_the_same_scene(tmp_path: Path) -> None:
    truths = [
        simulate_scene(tmp_path / name, size=24, dates=1, seed=seed)
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    a, b, c = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    )
    assert a == b
    assert {p.suffix for p in a} == {".tif", ".json"}
    xr.testing.assert_identical(truths[0], truths[1])
    vv = next(p for p in a if p.name == "vv.tif")
    assert a[vv] != c[vv]
    assert not truths[0].soil_moisture.equals(truths[2].soil_moisture)


def test_items_are_a_catalogue(scene: SimpleNamespace) -> None:
    for stem in STEMS:
        collection = pystac.ItemCollection.from_file(str(scene.folder / f"{stem}.json"))
        assert len(collection) == len(scene.items[stem]) > 0
        for item in scene.items[stem]:
            assert item["collection"] == stem
            assert item["stac_version"] == "1.0.0"
            assert item["links"] == []
            for asset in item["assets"].values():
                assert asset["href"].startswith("./")
                assert (scene.folder / asset["href"]).is_file()
    # both spellings of the projection are met
    assert scene.items["sentinel-2-l2a"][0]["properties"]["proj:code"] == "EPSG:32631"
    for stem in ("sentinel-1-sigma0", "landsat-c2-l2", "dem"):
        assert scene.items[stem][0]["properties"]["proj:epsg"] == 32631
    ids = [item["id"] for items in scene.items.values() for item in items]
    assert len(set(ids)) == len(ids)


def test_footprint_is_where_the_pixels_are(scene: SimpleNamespace) -> None:
    west, south, east, north = scene.items["dem"][0]["bbox"]
    xs, ys = rasterio.warp.transform(
        "EPSG:32631", "EPSG:4326", scene.truth.x.values, scene.truth.y.values
    )
    assert west < min(xs) < max(xs) < east
    assert south < min(ys) < max(ys) < north
    assert east - west == pytest.approx(2000 / 70_200, rel=0.02)  # degree of longitude at 50.8 N


def test_files_are_what_the_items_say(scene: SimpleNamespace) -> None:
    for items in scene.items.values():
        for item in items:
            for name, asset in item["assets"].items():
                with rasterio.open(scene.folder / asset["href"]) as file:
                    band = asset["raster:bands"][0]
                    assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG", name
                    assert file.block_shapes == [(128, 128)]
                    assert bool(file.overviews(1)) == (max(file.shape) > 128)
                    assert file.crs.to_epsg() == 32631
                    assert list(file.shape) == asset["proj:shape"]
                    assert list(file.transform)[:6] == asset["proj:transform"]
                    assert (file.nodata, file.dtypes[0]) == (band["nodata"], band["data_type"])
                    # whole pixels that cover the scene
                    assert file.bounds.left == 501_360
                    assert file.bounds.top == 5_629_680
                    assert file.bounds.right >= 503_360
                    assert file.bounds.bottom <= 5_627_680


def test_truth(scene: SimpleNamespace) -> None:
    truth = scene.truth
    assert truth.soil_moisture.dims == ("time", "y", "x")
    assert truth.soil_moisture.attrs["units"] == "m3 m-3"
    assert truth.time.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(np.diff(truth.x), 10)
    np.testing.assert_array_equal(np.diff(truth.y), -10)
    assert (truth.x[0], truth.y[0]) == (501_365, 5_629_675)
    np.testing.assert_array_equal(truth.soil_moisture.isnull().any("time"), truth.water)
    assert 0.005 < float(truth.water.mean()) < 0.1
    assert float(truth.soil_moisture.min()) >= 0.06
    assert float(truth.soil_moisture.max()) <= 0.42
    dry_to_wet = truth.soil_moisture.quantile([0.02, 0.98])
    assert float(dry_to_wet[1] - dry_to_wet[0]) > 0.15
    # dry-down, rain between the second and the third date, dry-down
    means = truth.soil_moisture.mean(("y", "x")).values
    assert means[1] < means[0]
    assert means[2] > means[1] + 0.03
    assert means[3] < means[2]


def test_radar_is_sigma0_that_follows_the_truth(scene: SimpleNamespace) -> None:
    truth = scene.truth
    items = scene.items["sentinel-1-sigma0"]
    stamps = [np.datetime64(time(i).replace(tzinfo=None), "ns") for i in items]
    np.testing.assert_array_equal(stamps, truth.time)
    assert [i["properties"]["sat:relative_orbit"] for i in items] == [161, 59, 161, 59]
    for k, item in enumerate(items):
        vv, vh, angle = (read(scene.folder, item, a) for a in ("vv", "vh", "incidence_angle"))
        assert vv.dtype == np.float32
        assert vv.min() > 0
        assert vh.min() > 0
        land = ~truth.water.values
        assert 1.5 < vv[land].mean() / vh[land].mean() < 30
        assert linear_to_decibel(vv[~land].mean()) < linear_to_decibel(vv[land].mean()) - 5
        assert angle.mean() == pytest.approx(item["properties"]["view:incidence_angle"], abs=0.1)
        assert 0.05 < np.ptp(angle) < 0.5
        bare = land & (truth.ndvi[k].values < 0.3)
        assert bare.sum() > 1000
        moisture = truth.soil_moisture[k].values[bare]
        assert np.corrcoef(linear_to_decibel(vv[bare]), moisture)[0, 1] > 0.25


def test_every_radar_date_has_partners(scene: SimpleNamespace) -> None:
    optical = scene.items["sentinel-2-l2a"]
    for stamp in scene.truth.time.values:
        apart = [days_apart(stamp, i) for i in optical]
        assert min(apart) > 0.3
        assert 1 <= sum(a <= 3 for a in apart) <= 2
    # the second date: mostly clouded nearest, clear farther
    near = sorted(optical, key=lambda i: days_apart(scene.truth.time.values[1], i))[:2]
    assert near[0]["properties"]["eo:cloud_cover"] > 70
    assert near[1]["properties"]["eo:cloud_cover"] < 10
    assert days_apart(scene.truth.time.values[1], near[1]) < 3
    with_landsat = [
        min(days_apart(stamp, i) for i in scene.items["landsat-c2-l2"]) < 3
        for stamp in scene.truth.time.values
    ]
    assert with_landsat == [True, False, True, False]


def test_offset_of_the_baseline_is_in_the_numbers(scene: SimpleNamespace) -> None:
    minima: dict[str, int] = {}
    for item in scene.items["sentinel-2-l2a"]:
        river = read(scene.folder, item, "B08")
        baseline = item["properties"]["s2:processing_baseline"]
        minima[baseline] = min(int(river.min()), minima.get(baseline, 65535))
        assert river.min() > 0  # 0 is nodata
    assert set(minima) == {"05.09", "02.14"}
    assert minima["05.09"] > 1000
    assert minima["02.14"] < 400


def test_sentinel2_shows_the_ndvi_where_it_is_clear(scene: SimpleNamespace) -> None:
    truth = scene.truth
    for item in scene.items["sentinel-2-l2a"]:
        red, nir, blue = (reflectance(scene.folder, item, a) for a in ("B04", "B08", "B02"))
        scl = np.kron(read(scene.folder, item, "SCL"), np.ones((2, 2)))[:200, :200]
        clear, cloud = np.isin(scl, (4, 5)), scl == 9
        k = int(np.argmin([days_apart(stamp, item) for stamp in truth.time.values]))
        error = (normalized_difference(nir, red) - truth.ndvi[k].values)[clear]
        assert abs(error.mean()) < 0.03
        assert error.std() < 0.05
        assert blue[cloud].mean() > 0.3 > 0.2 > blue[clear].max()
        assert {3, 4, 5, 6, 8, 9} >= set(np.unique(scl))
        covered = 100 * np.isin(scl, (8, 9)).mean()
        assert covered == pytest.approx(item["properties"]["eo:cloud_cover"], abs=8)


def test_landsat_scales_and_flags(scene: SimpleNamespace) -> None:
    for item in scene.items["landsat-c2-l2"]:
        flags = read(scene.folder, item, "qa_pixel")
        cloud, shadow, clear, water = ((flags >> bit) & 1 == 1 for bit in (3, 4, 6, 7))
        assert not (flags & 1).any()
        assert (cloud ^ clear).all()
        assert water.any()
        ground = clear & ~shadow
        for name, low, high in (("red", 0, 0.3), ("nir08", 0, 0.6), ("lwir11", 280, 320)):
            band = item["assets"][name]["raster:bands"][0]
            values = read(scene.folder, item, name) * band["scale"] + band["offset"]
            assert low < values[ground].min() < values[ground].max() < high
            assert np.isfinite(values).all()


def test_the_river_runs_in_the_valley(scene: SimpleNamespace) -> None:
    dem = read(scene.folder, scene.items["dem"][0], "data")
    assert 20 < np.ptp(dem) < 150
    height = np.kron(dem, np.ones((3, 3)))[:200, :200]
    water = scene.truth.water.values
    assert height[water].mean() < np.quantile(height, 0.3)
    low = (height < np.quantile(height, 0.25)) & ~water
    moisture = scene.truth.soil_moisture[0].values
    assert moisture[low].mean() > np.nanmean(moisture) + 0.02


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("keep")
    with pytest.raises(StoreExistsError, match="not empty"):
        simulate_scene(tmp_path, size=12, dates=1)
    with pytest.raises(FileExistsError):
        simulate_scene(mine, size=12, dates=1)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine.txt"]
    assert mine.read_text() == "keep"


@pytest.mark.parametrize("wrong", [{"size": 0}, {"dates": 0}, {"seed": -1}])
def test_no_scene_is_refused_before_writing(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=str(next(iter(wrong.values())))):
        simulate_scene(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_size_that_no_coarse_pixel_divides(tmp_path: Path) -> None:
    truth = simulate_scene(tmp_path, size=7, dates=5)
    assert dict(truth.sizes) == {"time": 5, "y": 7, "x": 7}
    item = json.loads((tmp_path / "sentinel-2-l2a.json").read_text())["features"][0]
    shapes = [item["assets"][a]["proj:shape"] for a in ("B02", "B05", "B01")]
    assert shapes == [[7, 7], [4, 4], [2, 2]]


def test_oh_2004_by_hand() -> None:
    # m_v = 0.2, s = 1 cm (ks = 1.13281), 40 degree: the published equations by hand
    vv, vh = oh_2004(np.array(0.2), np.array(0.01), np.array(40.0))
    ks = 1.13281
    expected_vh = 0.11 * 0.324131 * 0.766044**2.2 * (1 - np.exp(-0.32 * ks**1.8))
    q = 0.095 * (0.13 + 0.866025) ** 1.4 * (1 - np.exp(-1.3 * ks**0.9))
    assert float(vh) == pytest.approx(expected_vh, rel=1e-5)
    assert float(vv) == pytest.approx(expected_vh / q, rel=1e-5)


def test_wet_soil_is_darker_and_brighter_to_radar() -> None:
    theta = np.linspace(0.05, 0.40, 20)
    for band in ("B02", "B08", "B11", "B12"):
        assert (np.diff(soil_reflectance(theta, band)) < 0).all()
    vv, vh = oh_2004(theta, np.full(20, 0.01), np.full(20, 38.0))
    assert (np.diff(vv) > 0).all()
    assert (vv > vh).all()


def test_simulate_items_are_metadata_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bbox = (3.0, 50.5, 4.2, 51.1)
    items = simulate_items(bbox=bbox, start="2023-06-01", days=30)
    assert list(tmp_path.iterdir()) == []
    number = {s: [i for i in items if i.collection_id == s] for s in STEMS}
    assert [len(number[s]) for s in STEMS] == [10, 12, 4, 1]
    assert {i.properties["sat:relative_orbit"] for i in number[STEMS[0]]} == {161, 59}
    assert len({i.id for i in items}) == len(items)
    for item in items:
        assert item.bbox is not None
        west, south, east, north = item.bbox
        assert west < bbox[0] < bbox[2] < east
        assert south < bbox[1] < bbox[3] < north
        assert not any(Path(a.href).exists() for a in item.assets.values())
        for asset in item.assets.values():
            (rows, columns), t = (asset.extra_fields[f"proj:{k}"] for k in ("shape", "transform"))
            assert t[2] % 60 == t[5] % 60 == 0
            assert rows * t[0] >= 66_000
            assert columns * t[0] >= 84_000
    for item in number[STEMS[0]]:
        assert item.datetime is not None
        assert datetime(2023, 6, 1, tzinfo=UTC) <= item.datetime < datetime(2023, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong", [{"bbox": (4.0, 50.0, 3.0, 51.0)}, {"start": "June"}, {"days": 0}]
)
def test_simulate_items_refuses(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"bbox": (3.0, 50.5, 4.2, 51.1), "start": "2023-06-01"}
    with pytest.raises(RequestError, match=next(iter(wrong))):
        simulate_items(**(good | wrong))
