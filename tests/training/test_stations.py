"""Stations x imagery: a sample is what a map has at the station's pixel, and nothing gets lost."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.warp import Resampling, calculate_default_transform, reproject

import gssm
from gssm import quality
from gssm.errors import (
    CatalogUnreachableError,
    EmptySearchError,
    GssmError,
    GssmWarning,
    ReadError,
    RequestError,
    SamplesError,
    StoreExistsError,
    StoreWriteError,
    UnknownCatalogError,
)
from gssm.grid import make_grid
from gssm.models.table import feature_matrix
from gssm.terrain import BASELINE
from gssm.training import station_windows
from gssm.training.samples import read_samples
from gssm.training.station_windows import (
    MARGIN,
    Outcome,
    Request,
    Station,
    failure,
    nearest_measurement,
    note,
    station_grid,
    station_pixel,
)
from gssm.training.stations import build_samples, check_stations, dropped_report, split_stations

# Pixel centres (m) of the simulated scene: three on land, one on the river, one outside.
PLACES = {
    "field": (501_435.0, 5_629_595.0),
    "meadow": (501_605.0, 5_629_395.0),
    "corner": (501_375.0, 5_629_665.0),
}
RIVER = (501_545.0, 5_629_575.0)
BESIDE = (501_245.0, 5_629_595.0)
MAP = (3.0180, 50.8125, 3.0265, 50.8188)  # a box that holds the scene and more
TIMES = pd.date_range("2023-06-01", "2023-06-12", freq="3h")
FIRST, SECOND = pd.Timestamp("2023-06-03 17:32:10"), pd.Timestamp("2023-06-08 17:40:48")


def degrees(x: float, y: float) -> tuple[float, float]:
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(x, y)
    return longitude, latitude


def measured(
    places: dict[str, tuple[float, float]] = PLACES,
    times: Any = TIMES,
    **columns: Any,
) -> pd.DataFrame:
    """Made-up moisture at pixel centres, a few metres off."""
    parts = []
    for number, (name, (x, y)) in enumerate(places.items()):
        longitude, latitude = degrees(x + 3, y - 2)
        moisture = 0.2 + 0.02 * number + 0.001 * np.arange(len(times))
        row = {"longitude": longitude, "latitude": latitude, "elevation": 20.0, "depth": 0.05}
        parts.append(
            pd.DataFrame(
                {"network": "NET", "station": name, **row, "time": times, "soil_moisture": moisture}
            )
        )
    return pd.concat(parts, ignore_index=True).assign(**columns)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def samples(scene: Path) -> pd.DataFrame:
    with dask.config.set(scheduler="synchronous"):
        return build_samples(measured(flag="G"), scene)


@pytest.fixture
def catalogue(scene: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(scene, tmp_path / "catalogue"))


class Sampler:
    """Stands for the sampling of imagery, at once; what it gives depends on all it is given."""

    def __init__(self) -> None:
        self.sampled: list[str] = []
        self.broken: tuple[str, ...] = ()

    def __call__(self, station: Station, request: Request) -> Outcome:
        self.sampled.append(station.name)
        if station.name in self.broken:
            error = CatalogUnreachableError("the STAC API did not answer.")
            return failure(station, "the search failed", error)
        facts = [asdict(request), station.longitude, station.latitude, station.measured.to_csv()]
        seed = int(hashlib.sha256(repr(facts).encode()).hexdigest()[:8], 16)
        values = np.random.default_rng(seed).uniform(0.1, 0.3, (4, 4)).astype(np.float32)
        rows = pd.DataFrame(values, columns=["vv", "vh", "incidence_angle", "soil_moisture"])
        rows.insert(0, "time", pd.date_range("2023-06-03", periods=4))
        rows.insert(0, "station", station.name)
        rows.insert(0, "network", station.network)
        return Outcome(rows, note(station, "flagged water").dropped)


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> Sampler:
    fake = Sampler()
    monkeypatch.setattr(station_windows, "sample_station", fake)
    return fake


# --- a sample is the map's pixel ----------------------------------------------------------


def assert_same_as_map(samples: pd.DataFrame, cube: xr.Dataset, crs: str = "EPSG:32631") -> None:
    """Compare every row with the pixel of a map cube that its station lies in."""
    to_grid = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    flags = quality.quality_flag(cube)
    features = gssm.build_features(cube, "l2")
    matrix = feature_matrix(samples, "l2")
    for number, (_, row) in enumerate(samples.iterrows()):
        x, y = to_grid.transform(row["longitude"], row["latitude"])
        place = {"time": row["time"], "y": y, "x": x}

        def pixel(array: Any, place: dict[str, Any] = place) -> Any:
            dims = {k: v for k, v in place.items() if k in array.dims}
            return array.sel(dims, method="nearest").values

        for name in cube.data_vars:
            if name != "read_failed":
                np.testing.assert_array_equal(np.float32(row[name]), pixel(cube[name]), str(name))
        assert row["quality_flag"] == pixel(flags)
        there = [pixel(features[name]) for name in features]
        np.testing.assert_allclose(matrix[number], there, rtol=0, atol=1e-6)
    assert len(samples)


@pytest.fixture(scope="module")
def cube(scene: Path) -> xr.Dataset:
    """The map that a user would open, in memory."""
    items = gssm.search(MAP, "2023-06", catalog=scene)
    return gssm.open_cube(items, chunks={"y": 30, "x": 40}).compute(scheduler="synchronous")


def test_samples_are_the_pixels_of_a_map(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    assert_same_as_map(samples, cube)
    assert len(samples) == 6
    # Not a test of missing values: these were there to compare.
    for name in ("s2_b4", "s2_age", "dsm", "slope", "aspect"):
        assert samples[name].notna().any(), name
    assert np.isfinite(feature_matrix(samples, "l2")).all(axis=1).any()


def test_samples_are_the_pixels_of_a_map_of_the_real_site(flanders: Path) -> None:
    bbox = (3.0195, 50.8132, 3.0282, 50.8187)
    times = pd.date_range("2018-07-01", "2018-07-12", freq="h")
    stations = measured({"made-up": (501_755.0, 5_629_345.0)}, times)
    table = build_samples(stations, flanders)
    cube = gssm.open_cube(gssm.search(bbox, "2018-06-28/2018-07-14", catalog=flanders)).compute()
    assert_same_as_map(table, cube)
    assert len(table) >= 3
    assert table["landsat_b10"].notna().any()
    assert table["measurement_offset_hours"].abs().max() <= 0.5
    assert table["relative_orbit"].isin([59, 161]).all()


def warped_copy(file: Path, crs: str) -> None:
    """Write a file anew in another projection."""
    with rasterio.open(file) as old:
        values, profile, bounds = old.read(1), old.profile, old.bounds
    size = (profile["width"], profile["height"])
    transform, width, height = calculate_default_transform(profile["crs"], crs, *size, *bounds)
    warped = np.zeros((height, width), values.dtype)
    source = {"src_transform": profile["transform"], "src_crs": profile["crs"]}
    nodata = {"src_nodata": profile["nodata"], "dst_nodata": profile["nodata"]}
    target = {"dst_transform": transform, "dst_crs": crs}
    reproject(values, warped, **source, **target, **nodata, resampling=Resampling.bilinear)
    place = {"crs": crs, "transform": transform, "width": width, "height": height}
    kind = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "nodata": profile["nodata"]}
    with rasterio.open(file, "w", **place, **kind) as new:
        new.write(warped, 1)


def test_files_in_other_projections_agree_to_the_tolerance_of_the_warper(catalogue: Path) -> None:
    for file in catalogue.glob("dem/*/data.tif"):
        warped_copy(file, "EPSG:4326")
    for file in catalogue.glob("sentinel-2-l2a/*/B*.tif"):
        warped_copy(file, "EPSG:32632")
    places = {name: PLACES[name] for name in ("field", "meadow")}
    table = build_samples(measured(places), catalogue)
    cube = gssm.open_cube(gssm.search(MAP, "2023-06", catalog=catalogue)).compute()
    compared = 0
    for _, row in table.iterrows():
        x, y = Transformer.from_crs(4326, 32631, always_xy=True).transform(
            row["longitude"], row["latitude"]
        )
        at = cube.sel(time=row["time"]).sel(x=x, y=y, method="nearest")
        np.testing.assert_allclose(row["dsm"], at["dsm"], atol=1e-3)
        for name in ("s2_b4", "s2_b8", "s2_b11"):
            np.testing.assert_allclose(row[name], at[name], atol=1e-5)
            compared += int(np.isfinite(row[name]))
    assert compared >= 6


@settings(max_examples=25)
@given(
    longitude=st.floats(-179.9, 179.9),
    # On the equator itself the hemisphere hangs on a rounding.
    latitude=st.floats(-79.9, 83.8).filter(lambda degrees: abs(degrees) > 1e-3),
    wide=st.floats(0.02, 0.2),
)
def test_the_window_is_a_piece_of_the_map_with_the_station_inside(
    longitude: float, latitude: float, wide: float
) -> None:
    assert MARGIN * 10 > 2 * BASELINE
    window = station_grid(longitude, latitude)
    half = wide / 2
    full = make_grid(
        (longitude - half, latitude - half / 10, longitude + half, latitude + half / 10)
    )
    zone = int((longitude + 180) // 6) % 60 + 1
    assert window.crs.to_epsg() == (32600 if latitude > -1e-6 else 32700) + zone
    if full.crs == window.crs:
        for edge in (window.boundingbox.left, window.boundingbox.top):
            assert edge % 10 == 0
        assert window.resolution == full.resolution
    row, column = station_pixel(window, longitude, latitude)
    rows, columns = window.shape
    assert MARGIN <= row < rows - MARGIN
    assert MARGIN <= column < columns - MARGIN
    x, y = window.transform * (column, row)
    point = Transformer.from_crs("EPSG:4326", window.crs.to_wkt(), always_xy=True)
    east, north = point.transform(longitude, latitude)
    assert -1e-6 <= east - x < 10 + 1e-6
    assert -1e-6 <= y - north < 10 + 1e-6


@given(angle=st.floats(-np.pi, np.pi))
def test_aspect_in_degrees_gives_sine_and_cosine_back(angle: float) -> None:
    sine, cosine = (pd.Series([f(angle)], dtype=np.float32) for f in (np.sin, np.cos))
    row = pd.DataFrame({"vv": [0.1], "vh": [0.1], "aspect": station_windows._degrees(sine, cosine)})
    spec = gssm.FeatureSpec("direction", ("aspect_sin", "aspect_cos"))
    np.testing.assert_allclose(
        feature_matrix(row, spec)[0], [sine[0], cosine[0]], rtol=0, atol=1e-6
    )


# --- which measurement --------------------------------------------------------------------


def test_each_acquisition_takes_the_nearest_measurement(scene: Path, samples: pd.DataFrame) -> None:
    assert samples["time"].tolist() == [FIRST, SECOND] * 3
    assert (
        samples["measured_time"].tolist()
        == [
            pd.Timestamp("2023-06-03 18:00"),
            pd.Timestamp("2023-06-08 18:00"),
        ]
        * 3
    )
    offset = (samples["measured_time"] - samples["time"]) / pd.Timedelta("1h")
    np.testing.assert_allclose(samples["measurement_offset_hours"], offset, atol=1e-6)
    table = measured()
    for _, row in samples.iterrows():
        of_row = (table["station"] == row["station"]) & (table["time"] == row["measured_time"])
        expected = table.loc[of_row, "soil_moisture"].item()
        assert row["soil_moisture"] == pytest.approx(expected)


def test_samples_can_be_joined_with_others(samples: pd.DataFrame) -> None:
    """As they come, without a file between."""
    joined = gssm.concat_samples([samples])
    assert len(joined) == len(samples)
    assert joined.attrs["level"] == "l2"


def test_a_measurement_that_is_too_far_in_time_serves_nothing(scene: Path) -> None:
    table = build_samples(measured({"field": PLACES["field"]}), scene, max_hours=0.4)
    assert table["time"].tolist() == [SECOND]
    assert table.attrs["dropped"] == {"no measurement within 0.4 h": 1}
    (first,) = dropped_report(table)["time"]
    assert first == FIRST


moments = st.integers(0, 10_000)


@given(
    times=st.lists(moments, max_size=20),
    known=st.lists(moments, min_size=1, max_size=20, unique=True),
    hours=st.floats(0.01, 100),
)
def test_nearest_measurement_against_all_pairs(
    times: list[int], known: list[int], hours: float
) -> None:
    start = np.datetime64("2020-01-01", "ns")
    at = start + np.array(times, "timedelta64[m]")
    there = start + np.sort(np.array(known, "timedelta64[m]"))
    found = nearest_measurement(at, there, hours)
    for time, index in zip(at, found, strict=True):
        distance = np.abs(there - time)
        limit = np.timedelta64(pd.Timedelta(hours=hours))
        assert index == (distance.argmin() if distance.min() <= limit else -1)


def test_dates_limit_the_acquisitions(scene: Path) -> None:
    stations = measured({"field": PLACES["field"]})
    table = build_samples(stations, scene, datetime="2023-06-05/2023-06-30")
    assert table["time"].tolist() == [SECOND]
    assert table.attrs["dropped"] == {}
    for times, dates in ((TIMES, "2020"), (pd.date_range("1998-01-01", periods=3), None)):
        stations = measured({"field": PLACES["field"]}, times)
        with pytest.raises(EmptySearchError, match="1 x no measurement in the dates asked for"):
            build_samples(stations, scene, datetime=dates)


# --- what was dropped and why -------------------------------------------------------------


def test_what_has_no_row_is_reported_with_its_reason(catalogue: Path) -> None:
    places = {"field": PLACES["field"], "river": RIVER, "beside": BESIDE, "far": (530_000.0, 5.6e6)}
    broken = catalogue / "sentinel-1-sigma0" / f"S1A_{FIRST:%Y%m%dT%H%M%S}" / "vh.tif"
    broken.write_bytes(b"no tiff")
    with pytest.warns(GssmWarning, match="is skipped"):
        table = build_samples(measured(places), catalogue)
    assert table[["station", "time"]].to_numpy().tolist() == [["field", SECOND]]
    report = dropped_report(table)
    assert list(report.columns) == ["network", "station", "time", "measured_time", "reason"]
    told = {(r.station, r.time): r.reason for r in report.itertuples()}
    assert told[("field", FIRST)] == told[("river", FIRST)] == "flagged read failed"
    assert told[("river", SECOND)] == "flagged water"
    assert told[("beside", SECOND)].startswith("radar missing at the station's pixel")
    (far,) = report.loc[report["station"] == "far", "reason"]
    assert far.startswith("no imagery: no Sentinel-1 item")
    assert report.loc[report["station"] == "far", "time"].isna().all()
    assert len(report) == 6
    assert table.attrs["dropped"]["no imagery"] == 1
    assert sum(table.attrs["dropped"].values()) == 6


def test_no_sample_at_all_is_an_error_that_counts_the_reasons(scene: Path, tmp_path: Path) -> None:
    stations = measured({"river": RIVER, "beside": BESIDE})
    with pytest.raises(EmptySearchError, match=r"2 stations \(2 x flagged water, 2 x radar miss"):
        build_samples(stations, scene, out=tmp_path / "samples.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_a_report_says_so() -> None:
    with pytest.raises(SamplesError, match="carry no report"):
        dropped_report(pd.DataFrame())


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Places whose search gets no answer."""
    names: list[str] = []

    def search(bbox: Any, *args: Any, **kwargs: Any) -> Any:
        for longitude in (degrees(*PLACES[name])[0] for name in names):
            if abs((bbox[0] + bbox[2]) / 2 - longitude) < 1e-4:
                raise CatalogUnreachableError("the STAC API did not answer.")
        return gssm.search(bbox, *args, **kwargs)

    monkeypatch.setattr(station_windows, "search", search)
    return names


def test_a_station_that_fails_does_not_stop_the_others(scene: Path, unreachable: list[str]) -> None:
    unreachable += ["field", "meadow"]
    lines: list[str] = []
    with pytest.warns(GssmWarning, match=r"2 station\(s\) left out: NET/field failed, the search"):
        table = build_samples(measured(), scene, progress=lines.append)
    assert set(table["station"]) == {"corner"}
    assert table.attrs["failed_stations"] == 2
    assert set(dropped_report(table)["reason"]) == {
        "the search failed: the STAC API did not answer."
    }
    assert sorted(line.partition(":")[0] for line in lines) == [
        f"{n} of 3 stations" for n in (1, 2, 3)
    ]
    assert any("NET/field failed, the search failed" in line for line in lines)


def test_when_every_station_fails_it_is_an_error(scene: Path, unreachable: list[str]) -> None:
    unreachable += PLACES
    with pytest.raises(CatalogUnreachableError, match=r"none of 3 .*, NET/field: the search"):
        build_samples(measured(), scene)


def test_images_that_cannot_be_read_are_a_failure(catalogue: Path, tmp_path: Path) -> None:
    for file in catalogue.glob("sentinel-1-sigma0/*/v?.tif"):
        file.write_bytes(b"not a tiff")
    out = tmp_path / "new" / "samples.parquet"
    with (
        pytest.warns(GssmWarning, match="could not be read"),
        pytest.raises(ReadError, match="each of the 2 acquisitions could not be read"),
    ):
        build_samples(measured({"field": PLACES["field"]}), catalogue, out=out)
    assert list(out.parent.iterdir()) == []


# --- the table ----------------------------------------------------------------------------


def test_the_file_is_the_table_and_a_training_table(
    scene: Path, samples: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "samples.parquet"
    table = build_samples(measured(flag="G"), scene, out=out)
    pd.testing.assert_frame_equal(table, samples)
    back = read_samples(out)
    pd.testing.assert_frame_equal(back[samples.columns], samples)
    assert table.attrs["source"]["name"] == "samples.parquet"
    pd.testing.assert_frame_equal(dropped_report(table), dropped_report(samples))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "samples.dropped.csv",
        "samples.parquet",
    ]
    assert set(table["flag"]) == {"G"}
    assert not {"depth", "elevation", "read_failed"} & set(table.columns)


def test_a_model_trained_on_it_maps_what_it_says_of_the_rows(
    cube: xr.Dataset, samples: pd.DataFrame, tmp_path: Path
) -> None:
    many = pd.concat([samples] * 10, ignore_index=True)
    noise = np.random.default_rng(0).normal(0, 0.02, len(many)).astype(np.float32)
    many["soil_moisture"] += noise
    many["station"] += (many.index // len(samples)).astype(str)
    many.to_parquet(tmp_path / "many.parquet")
    # Without places, each name is a station of its own.
    model = gssm.train(
        read_samples(tmp_path / "many.parquet").drop(columns=["latitude", "longitude"]),
        preset="tiny",
        members=["xgboost"],
        evaluate=False,
    )
    model.save(tmp_path / "model")
    product = gssm.predict(cube, tmp_path / "model")
    predicted = model.predict(samples)["soil_moisture"]
    assert predicted.nunique() > 1
    for value, (_, row) in zip(predicted, samples.iterrows(), strict=True):
        x, y = PLACES[row["station"]]
        there = product.soil_moisture.sel(time=row["time"], x=x, y=y)
        np.testing.assert_allclose(value, there, atol=1e-6)


def test_a_read_back_report_keeps_odd_names(sampler: Sampler, scene: Path, tmp_path: Path) -> None:
    names = ("NA", 'a, "b"', "007")
    stations = measured(dict.fromkeys(names, RIVER))
    table = build_samples(stations, scene, out=tmp_path / "s.parquet")
    assert table["station"].unique().tolist() == list(names)
    assert dropped_report(table)["station"].tolist() == list(names)


def stations_of(table: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
    return {
        place.label: (place.longitude, place.latitude, place.measured.to_csv())
        for place in split_stations(check_stations(table))
    }


def test_forms_that_tables_come_in() -> None:
    table = measured(flag="G").sample(frac=1, random_state=0)
    table["time"] = table["time"].dt.tz_localize("UTC").dt.tz_convert("Etc/GMT-5")
    table["network"] = table["network"].astype("category")
    table["station"] = pd.Categorical(table["station"], categories=[*PLACES, "none"])
    table = pd.concat([table, table.iloc[:9]])  # said twice, and the same
    before = table.copy()
    assert stations_of(table) == stations_of(measured(flag="G"))
    pd.testing.assert_frame_equal(table, before)
    texts = measured(flag="G").astype({"time": str})
    assert stations_of(texts) == stations_of(measured(flag="G"))


def test_without_networks_and_with_one_name_in_two(scene: Path) -> None:
    stations = measured({"field": PLACES["field"]})
    alone = build_samples(stations.drop(columns="network"), scene)
    assert "network" not in alone
    assert list(dropped_report(alone).columns) == ["station", "time", "measured_time", "reason"]
    other = measured({"field": PLACES["meadow"]}, network="OTHER")
    both = stations_of(pd.concat([stations, other]))
    assert list(both) == ["NET/field", "OTHER/field"]
    assert both["NET/field"] != both["OTHER/field"]


def test_citations_travel_with_the_samples(sampler: Sampler, scene: Path, tmp_path: Path) -> None:
    stations = measured({"field": PLACES["field"]})
    stations.attrs["citations"] = {"NET": "Somebody et al."}
    table = build_samples(stations, scene, out=tmp_path / "s.parquet")
    assert table.attrs["citations"] == {"NET": "Somebody et al."}


def test_one_cube_and_one_computation_for_a_station(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cubes: list[xr.Dataset] = []
    computed: list[int] = []

    def spy(*args: Any, **kwargs: Any) -> xr.Dataset:
        cubes.append(gssm.open_cube(*args, **kwargs))
        return cubes[-1]

    compute = xr.Dataset.compute

    def counted(self: xr.Dataset, **kwargs: Any) -> xr.Dataset:
        computed.append(self.sizes["time"])
        return compute(self, **kwargs)

    monkeypatch.setattr(station_windows, "open_cube", spy)
    monkeypatch.setattr(xr.Dataset, "compute", counted)
    places = {name: PLACES[name] for name in ("field", "meadow")}
    build_samples(measured(places), scene)
    assert len(cubes) == 2
    assert computed == [2, 2]


# --- bad input ----------------------------------------------------------------------------


def changed(column: str, value: Any, row: int = 5) -> pd.DataFrame:
    table = measured()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table.infer_objects()


BAD = {
    "no table": (lambda: [1, 2], "are a list; give a pandas table"),
    "no column": (lambda: measured().drop(columns=["time", "latitude"]), "'latitude', 'time'"),
    "no rows": (lambda: measured().iloc[:0], "has no rows"),
    "a column twice": (lambda: pd.concat([measured(), measured()], axis=1), "two columns of one"),
    "percent": (lambda: changed("soil_moisture", 23.0), "NET/field, which looks like percent"),
    "below zero": (lambda: changed("soil_moisture", -9999.0), "falls to -9999 at station NET/fie"),
    "no label": (lambda: changed("soil_moisture", np.nan), "soil_moisture is missing in 1 of"),
    "infinite": (lambda: changed("soil_moisture", np.inf), "soil_moisture is missing in 1 of"),
    "no time": (lambda: changed("time", pd.NaT), "time is missing in 1 of"),
    "no place": (lambda: changed("latitude", np.nan), "latitude is missing in 1 of"),
    "no name": (lambda: changed("station", None), "station is missing in 1 of"),
    "no network": (lambda: changed("network", None), "network is missing in 1 of"),
    "words": (lambda: changed("soil_moisture", "wet"), "no number or no time"),
    "no date": (lambda: measured().assign(time="yesterday"), "no number or no time"),
    "seconds": (lambda: measured().assign(time=1_685_577_600), "no number or no time"),
    "swapped": (lambda: measured(latitude=103.0, longitude=50.8), "look swapped"),
    "beyond": (lambda: measured(longitude=203.0), "longitude 203, beyond 180 degrees"),
    "moved": (lambda: changed("latitude", 50.9), "station NET/field lie 9[0-9]{3} m apart"),
    "two depths": (
        lambda: pd.concat([measured(), measured().assign(soil_moisture=0.3)]),
        "NET/field has 0.2 and 0.3 at 2023-06-01 00:00",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_tables_are_refused(case: str, sampler: Sampler, scene: Path) -> None:
    make, says = BAD[case]
    with pytest.raises(SamplesError, match=says):
        build_samples(make(), scene)
    assert sampler.sampled == []


OPTIONS: dict[str, tuple[dict[str, Any], type[GssmError], str]] = {
    "catalogue": ({"catalog": "/no/such/place"}, UnknownCatalogError, "no catalogue '/no/such"),
    "catalogue path": ({"catalog": Path("gone")}, UnknownCatalogError, "no catalogue 'gone'"),
    "window": ({"window": "3"}, RequestError, "not a duration"),
    "hours": ({"max_hours": 0}, RequestError, "max_hours 0 is not"),
    "no hours": ({"max_hours": float("nan")}, RequestError, "max_hours nan is not"),
    "text hours": ({"max_hours": "12h"}, RequestError, "max_hours '12h' is not"),
    "clouds": ({"max_cloud_cover": 101}, RequestError, "not a percentage"),
    "dates": ({"datetime": "June"}, RequestError, "not a date"),
    "suffix": ({"out": "samples.csv"}, RequestError, "not a .parquet file"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_unusable_options_are_refused(case: str, sampler: Sampler, scene: Path) -> None:
    options, kind, says = OPTIONS[case]
    with pytest.raises(kind, match=says):
        build_samples(measured(), **{"catalog": scene, **options})
    assert sampler.sampled == []


def test_a_small_move_is_the_same_station() -> None:
    table = changed("latitude", degrees(*PLACES["field"])[1] + 0.0005)
    assert len(split_stations(check_stations(table))) == 3


def test_a_place_that_cannot_be_written_is_refused_first(
    scene: Path, tmp_path: Path, sampler: Sampler
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match="cannot be written"):
        build_samples(measured(), scene, out=tmp_path / "file" / "samples.parquet")
    (tmp_path / "taken.parquet").write_text("something else")
    (tmp_path / "folder.parquet").mkdir()
    for name in ("taken", "folder"):
        with pytest.raises(StoreExistsError, match="was not made of these stations"):
            build_samples(measured(), scene, out=tmp_path / f"{name}.parquet")
    assert (tmp_path / "taken.parquet").read_text() == "something else"
    assert sampler.sampled == []


# --- interrupted and repeated runs --------------------------------------------------------


class InterruptedRunError(Exception):
    pass


def interrupt_after(count: int) -> Any:
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if len(lines) == count:
            raise InterruptedRunError

    return progress


def test_a_second_call_goes_on_where_the_first_stopped(
    scene: Path, tmp_path: Path, sampler: Sampler
) -> None:
    out = tmp_path / "samples.parquet"
    clean = build_samples(measured(), scene)
    with pytest.raises(InterruptedRunError):
        build_samples(measured(), scene, out=out, progress=interrupt_after(2))
    assert not out.exists()
    assert len(list((tmp_path / "samples.parquet.parts").iterdir())) == 2
    sampler.sampled.clear()
    lines: list[str] = []
    table = build_samples(measured(), scene, out=out, progress=lines.append)
    pd.testing.assert_frame_equal(table, clean)
    assert len(sampler.sampled) == 1
    assert lines[0] == "2 of 3 stations are finished from an earlier run"
    assert not (tmp_path / "samples.parquet.parts").exists()
    sampler.sampled.clear()
    again = build_samples(measured(), scene, out=out, progress=lines.append)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs
    assert sampler.sampled == []
    assert "is there already" in lines[-1]


PROGRAM = """
import os, signal, sys
import dask, pandas as pd
from gssm.training.stations import build_samples

def die(line):
    os.kill(os.getpid(), signal.SIGKILL)

with dask.config.set(scheduler="synchronous"):
    build_samples(pd.read_parquet(sys.argv[1]), sys.argv[2], out=sys.argv[3], progress=die)
"""


def test_a_killed_run_leaves_whole_parts_and_no_table(
    scene: Path, samples: pd.DataFrame, tmp_path: Path
) -> None:
    out, table = tmp_path / "samples.parquet", tmp_path / "stations.parquet"
    measured(flag="G").to_parquet(table)
    command = [sys.executable, "-c", PROGRAM, str(table), str(scene), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    (part,) = (tmp_path / "samples.parquet.parts").iterdir()
    assert len(pd.read_parquet(part)) == 2
    # As a kill while writing would leave it.
    (part.parent / f".{part.name}.{'0' * 32}.tmp").write_bytes(part.read_bytes()[:100])
    lines: list[str] = []
    again = build_samples(measured(flag="G"), scene, out=out, progress=lines.append)
    pd.testing.assert_frame_equal(again, samples)
    assert lines[0].startswith("1 of 3 stations are finished")
    assert not part.parent.exists()


def test_a_broken_part_is_made_anew(scene: Path, tmp_path: Path, sampler: Sampler) -> None:
    out = tmp_path / "samples.parquet"
    with pytest.raises(InterruptedRunError):
        build_samples(measured(), scene, out=out, progress=interrupt_after(2))
    for part in (tmp_path / "samples.parquet.parts").iterdir():
        part.write_bytes(part.read_bytes()[:200])
    sampler.sampled.clear()
    assert len(build_samples(measured(), scene, out=out)) == 12
    assert len(sampler.sampled) == 3


def test_a_full_disk_is_named_and_keeps_what_is_finished(
    scene: Path, tmp_path: Path, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "samples.parquet"
    to_parquet = pd.DataFrame.to_parquet
    written: list[Path] = []

    def full(self: pd.DataFrame, path: Path, **kwargs: Any) -> None:
        written.append(path)
        to_parquet(self, path, **kwargs)
        if len(written) == 2:
            path.write_bytes(path.read_bytes()[:50])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(StoreWriteError, match=r"samples.parquet cannot be written \(No space"):
        build_samples(measured(), scene, out=out)
    (part,) = (tmp_path / "samples.parquet.parts").iterdir()
    assert len(pd.read_parquet(part)) == 4
    assert not out.exists()
    assert len(build_samples(measured(), scene, out=out)) == 12


def touch_items(catalogue: Path) -> None:
    file = catalogue / "sentinel-2-l2a.json"
    record = json.loads(file.read_text())
    record["features"][0]["properties"]["eo:cloud_cover"] = 100.0
    file.write_text(json.dumps(record))


# What is changed, and how many stations are sampled anew of two that were finished.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "nothing": ({}, {}, 0),
    "another station": ({"names": tuple(PLACES)}, {}, 1),
    "one value": ({"value": 0.3}, {}, 1),
    "one place": ({"place": 2e-5}, {}, 1),
    "flags": ({"flag": "G"}, {}, 2),
    "hours": ({}, {"max_hours": 6}, 2),
    "window": ({}, {"window": "2D"}, 2),
    "clouds": ({}, {"max_cloud_cover": 50}, 2),
    "dates": ({}, {"datetime": "2023"}, 2),
    "catalogue": ({"items": True}, {}, 2),
}


@pytest.mark.parametrize("case", CHANGES)
def test_parts_of_another_request_are_not_used(
    case: str, catalogue: Path, tmp_path: Path, sampler: Sampler
) -> None:
    table, options, anew = CHANGES[case]
    out = tmp_path / "samples.parquet"
    stations = measured({name: PLACES[name] for name in ("field", "meadow")})
    with pytest.raises(InterruptedRunError):
        build_samples(stations, catalogue, out=out, progress=interrupt_after(2))
    names = table.get("names", ("field", "meadow"))
    stations = measured({name: PLACES[name] for name in names})
    if "value" in table:
        stations.loc[3, "soil_moisture"] = table["value"]
    if "place" in table:
        stations.loc[stations["station"] == "field", "latitude"] += table["place"]
    if "flag" in table:
        stations["flag"] = table["flag"]
    if "items" in table:
        touch_items(catalogue)
    sampler.sampled.clear()
    result = build_samples(stations, catalogue, out=out, **options)
    assert len(sampler.sampled) == anew
    clean = build_samples(stations, catalogue, **options)
    pd.testing.assert_frame_equal(result, clean)


def test_a_finished_table_of_another_request_is_not_replaced(
    scene: Path, tmp_path: Path, sampler: Sampler
) -> None:
    out = tmp_path / "samples.parquet"
    stations = measured({"field": PLACES["field"]})
    build_samples(stations, scene, out=out)
    before = out.read_bytes()
    with pytest.raises(StoreExistsError, match="give another path with out="):
        build_samples(stations, scene, out=out, max_hours=3)
    assert out.read_bytes() == before


def test_failed_stations_are_tried_again(scene: Path, tmp_path: Path, sampler: Sampler) -> None:
    out = tmp_path / "samples.parquet"
    sampler.broken = ("meadow",)
    with pytest.warns(GssmWarning, match="left out: NET/meadow failed"):
        first = build_samples(measured(), scene, out=out)
    assert set(first["station"]) == {"field", "corner"}
    assert first.attrs["failed_stations"] == 1
    assert "the search failed" in (tmp_path / "samples.dropped.csv").read_text()
    sampler.sampled.clear()
    sampler.broken = ()
    second = build_samples(measured(), scene, out=out)
    assert sampler.sampled == ["meadow"]
    assert set(second["station"]) == set(PLACES)
    assert second.attrs["failed_stations"] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["samples.dropped.csv", "samples.parquet"]


def test_the_parts_folder_keeps_what_is_not_ours(
    scene: Path, tmp_path: Path, sampler: Sampler
) -> None:
    folder = tmp_path / "samples.parquet.parts"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    build_samples(measured(), scene, out=tmp_path / "samples.parquet")
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


# --- on Dask ------------------------------------------------------------------------------


def test_the_same_on_threads(scene: Path, samples: pd.DataFrame) -> None:
    with dask.config.set(scheduler="threads", num_workers=2):
        table = build_samples(measured(flag="G"), scene)
    pd.testing.assert_frame_equal(table, samples)


def test_the_same_on_a_cluster_and_failures_are_reported_there_too(
    scene: Path, samples: pd.DataFrame, tmp_path: Path, unreachable: list[str]
) -> None:
    from distributed import Client, LocalCluster

    out = tmp_path / "samples.parquet"
    lines: list[str] = []
    # TCP, so that all that is sent is pickled.
    options: dict[str, Any] = {"processes": False, "protocol": "tcp", "dashboard_address": ":0"}
    with (
        dask.config.set(scheduler=None),
        LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster,
        Client(cluster),
    ):
        unreachable.append("meadow")
        with pytest.warns(GssmWarning, match="left out: NET/meadow failed"):
            first = build_samples(measured(flag="G"), scene, out=out, progress=lines.append)
        unreachable.clear()
        table = build_samples(measured(flag="G"), scene, out=out, progress=lines.append)
    assert set(first["station"]) == {"field", "corner"}
    pd.testing.assert_frame_equal(table, samples)
    assert len(lines) == 3 + 2


def test_a_worker_that_dies_is_a_failure_of_its_station(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("the worker was killed")

    class Future:
        status = "error"

        def exception(self) -> Exception:
            return error

        def done(self) -> bool:
            return True

    class Cluster:
        def submit(self, *args: Any, **kwargs: Any) -> Future:
            return Future()

        def cancel(self, futures: list[Future]) -> None:
            assert futures == []

        def get(self) -> None: ...

    monkeypatch.setattr("distributed.as_completed", list)
    monkeypatch.setattr(station_windows, "get_scheduler", lambda: Cluster().get)
    with pytest.raises(ReadError, match="NET/field: the worker failed: the worker was killed"):
        build_samples(measured({"field": PLACES["field"]}), scene)
