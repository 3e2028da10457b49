"""Events of the simulated farm: truth, radar and optical images follow one and the same ground."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm.errors import RequestError, StoreExistsError
from gssm.physics import normalized_difference
from gssm.simulate import simulate_scene
from gssm.simulate_events import (
    WETTEST,
    burn,
    field_outlines,
    flood,
    irrigate,
    season,
    simulate_events,
    simulate_rain,
    story,
    wilt,
)
from gssm.simulate_ground import POROSITY
from gssm.simulate_items import START, days_since_start

SIZE = 60
# The left half of the scene and more.
WEST = shapely.box(3.0180, 50.8120, 3.0236, 50.8190)


def at(text: str) -> float:
    return days_since_start(datetime.fromisoformat(text).replace(tzinfo=UTC))


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def test_without_events_it_is_the_scene_of_the_demo(tmp_path: Path) -> None:
    plain = simulate_scene(tmp_path / "plain", size=24, dates=3, seed=5)
    same = simulate_events(tmp_path / "same", size=24, schedule=3, seed=5)
    assert digest(tmp_path / "plain") == digest(tmp_path / "same")
    xr.testing.assert_identical(plain["soil_moisture"], same["soil_moisture"])
    xr.testing.assert_identical(plain["ndvi"], same["ndvi"])
    assert plain["water"].dims == ("y", "x")
    assert (same["water"] == plain["water"]).all()


def test_a_burn_is_in_the_truth_the_optical_images_and_the_radar(tmp_path: Path) -> None:
    before = simulate_events(tmp_path / "a", size=SIZE, schedule=4)
    after = simulate_events(tmp_path / "b", [burn(WEST, "2023-06-10")], size=SIZE, schedule=4)
    xr.testing.assert_identical(before.isel(time=slice(2)), after.isel(time=slice(2)))
    ratio = (after["soil_moisture"] / before["soil_moisture"]).isel(time=3)
    scar = ratio < 0.9
    assert 0.3 < float(scar.mean()) < 0.6
    np.testing.assert_allclose(ratio.where(scar).mean(), 0.8, rtol=1e-5)
    assert float(after["ndvi"].isel(time=3).where(scar).max()) <= 0.14 + 1e-6
    xr.testing.assert_identical(
        before["ndvi"].where(~scar).isel(time=3), after["ndvi"].where(~scar).isel(time=3)
    )
    last = json.loads((tmp_path / "b" / "sentinel-2-l2a.json").read_text())["features"][-1]
    bands = {}
    for band in ("B04", "B08", "SCL"):
        with rasterio.open(tmp_path / "b" / last["assets"][band]["href"]) as file:
            bands[band] = file.read(1)
    clear = np.kron(np.isin(bands["SCL"], (4, 5)), np.ones((2, 2), bool))
    ndvi = normalized_difference(*(bands[b] * 1e-4 - 0.1 for b in ("B08", "B04")))
    assert np.abs(ndvi - after["ndvi"].values[3])[clear].mean() < 0.03


def test_the_radar_sees_wood_that_ndvi_does_not() -> None:
    _, kind = story([burn(WEST, "2023-06-10", standing=0, smoothed=1)], size=SIZE)
    _, hard = story([burn(WEST, "2023-06-10", standing=0.5, smoothed=0.5)], size=SIZE)
    t = at("2023-06-15")
    np.testing.assert_array_equal(kind(t).ndvi, kind(t).canopy)
    np.testing.assert_array_equal(kind(t).ndvi, hard(t).ndvi)
    assert (hard(t).canopy >= hard(t).ndvi).all()
    assert (hard(t).canopy > hard(t).ndvi).mean() > 0.3
    assert set(np.unique(np.round(hard(t).s / kind(t).s, 9))) == {0.5, 1.0}


def test_irrigation_wets_its_fields_and_dries_again() -> None:
    outlines = field_outlines(size=SIZE)["features"]
    assert len(outlines) >= 4
    one = outlines[1]
    farm, plain = story([], size=SIZE)
    _, watered = story([irrigate(one, ["2023-06-06"], wets=0.1)], size=SIZE)
    soonest = at("2023-06-07")
    inside = watered(soonest).soil_moisture > plain(soonest).soil_moisture
    assert (farm.parcel[inside] == one["properties"]["field"]).all()
    assert inside.sum() == round(100 * one["properties"]["hectares"])
    rises = {}
    for day in ("2023-06-06", "2023-06-07", "2023-06-12"):
        difference = watered(at(day)).soil_moisture - plain(at(day)).soil_moisture
        assert (difference[~inside] == 0).all()
        rises[day] = difference[inside].mean()
    assert rises["2023-06-06"] == 0  # it is done at noon
    assert rises["2023-06-07"] > 2 * rises["2023-06-12"] > 0
    moisture = plain(soonest).soil_moisture[inside]
    expected = 0.1 * np.exp(-0.5 / 5) * (1 - moisture / POROSITY)
    difference = watered(soonest).soil_moisture[inside] - moisture
    np.testing.assert_allclose(difference, np.minimum(expected, WETTEST - moisture), rtol=1e-6)


def test_a_flood_comes_goes_and_leaves_wet_soil() -> None:
    levels = {"2023-06-08": 0.0, "2023-06-10": 2.0, "2023-06-12": 0.0}
    farm, plain = story([], size=SIZE)
    _, wet = story([flood(levels)], size=SIZE)
    np.testing.assert_array_equal(wet(at("2023-06-07")).water, farm.water)
    rising, highest, gone = (wet(at(day)) for day in ("2023-06-09", "2023-06-10", "2023-06-13"))
    assert farm.water.sum() < rising.water.sum() < highest.water.sum()
    assert (highest.water >= rising.water).all()
    np.testing.assert_array_equal(gone.water, farm.water)
    left = highest.water & ~farm.water
    assert left.sum() > 100
    drier = plain(at("2023-06-13")).soil_moisture
    assert (gone.soil_moisture[left] > drier[left]).all()
    assert gone.soil_moisture.max() <= WETTEST
    np.testing.assert_array_equal(gone.soil_moisture[~highest.water], drier[~highest.water])
    much_later = at("2023-09-13")
    np.testing.assert_allclose(
        wet(much_later).soil_moisture, plain(much_later).soil_moisture, atol=1e-5
    )


def test_water_of_a_flood_is_in_the_truth_of_its_date(tmp_path: Path) -> None:
    levels = {"2023-06-07": 0.0, "2023-06-08": 2.0, "2023-06-10": 0.0}
    truth = simulate_events(tmp_path / "scene", [flood(levels)], size=SIZE, schedule=3)
    assert truth["water"].dims == ("time", "y", "x")
    counts = truth["water"].sum(("y", "x")).values
    assert counts[1] > 2 * counts[0]
    assert counts[0] == counts[2]
    np.testing.assert_array_equal(truth["soil_moisture"].isnull(), truth["water"])


def test_wilting_lowers_ndvi_between_its_dates() -> None:
    _, plain = story([], size=SIZE)
    _, wilted = story([wilt("2023-06-10", "2023-06-20", loss=0.5, floor=0.2)], size=SIZE)
    for day, changes in (("2023-06-09T23", False), ("2023-06-10", True), ("2023-06-20T23", True)):
        before, after = plain(at(day)).ndvi, wilted(at(day)).ndvi
        expected = np.where(before > 0.2, before - 0.5 * (before - 0.2), before)
        np.testing.assert_allclose(after, expected if changes else before)


def test_years_have_passes_of_one_orbit_and_plants_of_the_season() -> None:
    found = season("05-20", "07-10", [2023, 2021])
    times = pd.DatetimeIndex([time for time, _ in found])
    assert set(times.year) == {2021, 2023}
    assert times.is_monotonic_increasing
    assert {orbit.number for _, orbit in found} == {161}
    assert set(times[times.year == 2021].to_series().diff().dropna().dt.days) == {12}
    assert all((START - time).total_seconds() % (12 * 86_400) == 0 for time, _ in found)
    assert all("05-20" <= f"{time:%m-%d}" <= "07-10" for time in times)
    _, on = story([], size=SIZE)
    np.testing.assert_allclose(on(at("2021-06-20")).ndvi, on(at("2023-06-20")).ndvi, atol=1e-9)
    # Without this they would have no rain before June 2023.
    _, rainy = story([], size=SIZE, rain={"2021-06-19": 0.1})
    assert rainy(at("2021-06-20")).soil_moisture.mean() > on(at("2021-06-20")).soil_moisture.mean()


def test_rain_is_of_its_date_whatever_the_period() -> None:
    long = simulate_rain("2022-01-01", "2022-12-31", seed=3)
    short = simulate_rain("2022-06-01", "2022-06-30", seed=3)
    assert short == {day: wets for day, wets in long.items() if day.startswith("2022-06")}
    assert 60 < len(long) < 125
    assert 0.04 < np.mean(list(long.values())) < 0.08
    assert simulate_rain("2022-01-01", "2022-12-31", seed=4) != long


@given(st.floats(0, 60), st.floats(0, 3))
def test_the_ground_stays_possible(t: float, level: float) -> None:
    levels = {"2023-06-10": 0.0, "2023-06-12": level, "2023-06-20": 0.0}
    events = [burn(WEST, "2023-06-08"), irrigate(WEST, ["2023-06-09"]), flood(levels)]
    ground = story(events, size=12)[1](t)
    assert np.isfinite(ground.soil_moisture).all()
    assert (ground.soil_moisture > 0).all()
    assert (ground.soil_moisture <= WETTEST).all()
    assert (np.abs(ground.ndvi) <= 1).all()
    assert (ground.s > 0).all()


def test_outlines_are_the_fields(tmp_path: Path) -> None:
    farm, _ = story([], size=SIZE)
    outlines = field_outlines(size=SIZE, min_pixels=40)
    assert json.loads(json.dumps(outlines)) is not None
    numbers = [one["properties"]["field"] for one in outlines["features"]]
    assert set(numbers) <= set(np.unique(farm.parcel))
    for one in outlines["features"]:
        shape = shapely.geometry.shape(one["geometry"])
        assert shape.is_valid
        assert 3.0 < shape.bounds[0] < shape.bounds[2] < 3.1
        assert one["properties"]["hectares"] >= 0.4


def test_another_corner_is_another_place(tmp_path: Path) -> None:
    corner = (506_400.0, 5_629_680.0)
    truth = simulate_events(tmp_path / "scene", size=12, schedule=1, corner=corner)
    assert (truth.x[0], truth.y[0]) == (506_405, 5_629_675)
    item = json.loads((tmp_path / "scene" / "dem.json").read_text())["features"][0]
    assert item["assets"]["data"]["proj:transform"][2] == 506_400
    there = field_outlines(size=60, corner=corner)["features"][0]
    assert shapely.geometry.shape(there["geometry"]).bounds[0] > 3.08


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda: story([burn(shapely.box(4, 50, 4.1, 50.1), "2023-06-10")], size=12)[1](10),
            "no pixel",
        ),
        (lambda: burn(WEST, "10 June"), "ISO date"),
        (lambda: flood({"2023-06-10": 1}), "two times"),
        (lambda: flood({"2023-06-10": 1, "2023-06-09": 0}), "in order"),
        (lambda: simulate_events("nowhere", size=0), "size=0"),
        (lambda: simulate_events("nowhere", schedule=[]), "0 passes"),
    ],
)
def test_refused(wrong: object, says: str) -> None:
    assert callable(wrong)
    with pytest.raises(RequestError, match=says):
        wrong()
    assert not Path("nowhere").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(StoreExistsError):
        simulate_events(tmp_path, size=12, schedule=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
