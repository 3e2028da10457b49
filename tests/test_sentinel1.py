from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from odc.geo.geobox import GeoBox

from gssm.describe import Observation, Raster
from gssm.errors import GssmWarning
from gssm.grid import make_grid
from gssm.orbit import incidence_angle
from gssm.pairing import Acquisition
from gssm.sentinel1 import angle_attrs, angle_source, read_radar
from helpers import no_compute
from imagery import FOOTPRINT, utm_grid, write_tif

WHOLE = (5000, 5000)
GRID = utm_grid(8, 8)
# Angle of relative orbit 161, ascending, in the middle of the footprint and on the grid.
MIDDLE = float(incidence_angle(50.55, 3.02, 161, "ascending"))

# One that sees the place on its way down.
DESCENDING = next(
    o for o in range(1, 176) if 30 < incidence_angle(50.55, 3.02, o, "descending") < 45
)


def seen_by(item: str = "S1", **changes: Any) -> Observation:
    """An RTC image of relative orbit 161 over the grid, without files and without an angle."""
    stated: dict[str, Any] = {
        "id": item,
        "collection": "sentinel-1-rtc",
        "role": "sentinel1",
        "time": pd.Timestamp("2020-06-10T17:32:00"),
        "footprint": FOOTPRINT,
        "rasters": {v: Raster(f"/nowhere/{item}/{v}.tif", positive=True) for v in ("vv", "vh")},
        "platform": "sentinel-1a",
        "relative_orbit": 161,
        "orbit_state": "ascending",
        "convention": "gamma0",
    }
    return Observation(**{**stated, **changes})


def passes(*slices: Observation) -> list[Acquisition]:
    """Each image as a pass of its own."""
    return [Acquisition(o.time, (o,), (), ()) for o in slices]


def angles(given: list[Acquisition], grid: GeoBox = GRID, chunks: Any = WHOLE) -> Any:
    variables, _ = read_radar(given, grid, chunks)
    return variables["incidence_angle"].compute(scheduler="synchronous")


def with_files(folder: Path, arrays: Mapping[str, Any], **changes: Any) -> Observation:
    rasters = {
        name: Raster(write_tif(folder / f"{name}.tif", values), positive=True)
        for name, values in arrays.items()
    }
    return seen_by(rasters=rasters, **changes)


# --- where the angle comes from -----------------------------------------------------------------


def test_an_image_without_any_angle_takes_it_from_its_orbit() -> None:
    with no_compute():
        variables, _ = read_radar(passes(seen_by()), GRID, (3, 5))
    angle = variables["incidence_angle"]
    assert angle.dtype == np.float32
    assert angle.chunks == variables["vv"].chunks
    x, y = GRID.coordinates["x"].values, GRID.coordinates["y"].values
    from pyproj import Transformer

    degrees = Transformer.from_crs(GRID.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = degrees.transform(*np.meshgrid(x, y))
    expected = incidence_angle(latitude, longitude, 161, "ascending")
    np.testing.assert_allclose(angle.compute()[0], expected, atol=1e-4)
    np.testing.assert_array_equal(angles(passes(seen_by())), angle.compute())
    assert angle_attrs(passes(seen_by())) == {"source": "reference orbit of Sentinel-1"}


def test_orbit_is_preferred_to_one_number_that_agrees() -> None:
    item = seen_by(incidence_angle=round(MIDDLE) + 0.9)
    wide = utm_grid(40, 40, resolution=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        angle = angles(passes(item), wide)[0]
    assert 1.5 < np.ptp(angle[20]) < 4  # 40 km of the swath
    np.testing.assert_array_equal(angle, angles(passes(seen_by()), wide)[0])


def test_number_that_contradicts_the_orbit_is_kept_with_a_warning() -> None:
    item = seen_by(incidence_angle=MIDDLE + 1.6)
    with pytest.warns(GssmWarning, match="item 'S1'.*the stated angle is used"):
        angle = angles(passes(item))
    assert (angle == np.float32(MIDDLE + 1.6)).all()
    assert angle_attrs(passes(item)) == {"source": "one number for the scene"}


@pytest.mark.parametrize(
    "changes",
    [
        {"relative_orbit": None},
        {"relative_orbit": 176},
        {"orbit_state": ""},
        {"time": pd.Timestamp("2014-07-31")},  # Sentinel-1A was not yet on its orbit
    ],
)
def test_without_a_known_orbit(changes: dict[str, Any]) -> None:
    stated = passes(seen_by(incidence_angle=38.0, **changes))
    assert (angles(stated) == 38).all()
    with pytest.warns(GssmWarning, match="wider than 20 km"):
        read_radar(stated, utm_grid(8, 8, resolution=10_000), WHOLE)
    nothing = passes(seen_by(**changes))
    assert angle_source(nothing[0]) == "none"
    with pytest.warns(GssmWarning, match="no incidence angle, first item 'S1'"):
        assert np.isnan(angles(nothing)).all()


@pytest.mark.parametrize("stated", [0.0, 0.66, 90.0, float("nan")])
def test_a_number_that_is_no_angle_of_the_swath_counts_as_none(stated: float) -> None:
    item = passes(seen_by(incidence_angle=stated))
    np.testing.assert_array_equal(angles(item), angles(passes(seen_by())))
    unplaced = passes(seen_by(incidence_angle=stated, relative_orbit=None))
    assert angle_source(unplaced[0]) == "none"
    with pytest.warns(GssmWarning, match="view:incidence_angle of 28 to 48 degrees"):
        assert np.isnan(angles(unplaced)).all()


@pytest.mark.parametrize("changes", [{"orbit_state": "descending"}, {"relative_orbit": 20}])
def test_an_orbit_that_does_not_see_the_image_is_not_believed(changes: dict[str, Any]) -> None:
    with pytest.warns(GssmWarning, match="were not seen from it, first item 'S1'"):
        assert (angles(passes(seen_by(incidence_angle=38.0, **changes))) == 38).all()
    with pytest.warns(GssmWarning, match="no incidence angle, first item 'S1'"):
        assert np.isnan(angles(passes(seen_by(**changes)))).all()


@pytest.mark.parametrize("changes", [{"orbit_state": "descending"}, {"relative_orbit": 20}])
def test_an_orbit_that_did_not_see_an_image_with_angles_is_named(changes: dict[str, Any]) -> None:
    files = {v: Raster(f"/nowhere/{v}.tif") for v in ("vv", "vh", "incidence_angle")}
    read_radar(passes(seen_by(rasters=files)), GRID, WHOLE)
    with pytest.warns(GssmWarning, match="'S1' .*layover and shadow would be looked for on the"):
        read_radar(passes(seen_by(rasters=files, **changes)), GRID, WHOLE)


def test_stated_angles_of_slices_are_compared_in_their_middle() -> None:
    west, south, east, north = FOOTPRINT
    boxes = [(west, south, east, north), (west + 1, south + 1, east + 1, north + 1)]
    slices = []
    for index, box in enumerate(boxes):
        middle = ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
        stated = float(incidence_angle(*middle, 161, "ascending"))
        slices.append(seen_by(f"slice {index}", footprint=box, incidence_angle=stated))
    assert abs((slices[0].incidence_angle or 0) - (slices[1].incidence_angle or 0)) > 3
    both = Acquisition(slices[0].time, tuple(slices), (), ())
    assert angle_source(both) == "orbit"


def test_footprint_across_the_180th_meridian() -> None:
    longitude = 180.0
    orbits = np.arange(1, 176)
    seen = [float(incidence_angle(65.0, longitude, o, "ascending")) for o in orbits]
    orbit = int(orbits[np.nanargmin(np.abs(np.array(seen) - 38))])
    stated = seen[orbit - 1]
    item = seen_by(
        footprint=(179.0, 64.5, -179.0, 65.5), relative_orbit=orbit, incidence_angle=stated
    )
    assert angle_source(passes(item)[0]) == "orbit"


# --- mixed collections ----------------------------------------------------------------------


def test_every_source_in_one_cube(tmp_path: Path) -> None:
    power = np.full((8, 8), 0.1, np.float32)
    raster = np.linspace(30, 45, 64, dtype=np.float32).reshape(8, 8)
    arrays = {"vv": power, "vh": power / 4}
    sigma = {"collection": "sentinel-1-sigma0", "convention": "sigma0"}
    items = [
        with_files(tmp_path / "a", {**arrays, "incidence_angle": raster}, **sigma),
        with_files(tmp_path / "b", arrays),
        with_files(tmp_path / "c", arrays, relative_orbit=None, incidence_angle=38.0, **sigma),
    ]
    given = passes(*items)
    variables, failed = read_radar(given, GRID, (3, 8))
    angle, vv, vh = (variables[v].compute() for v in ("incidence_angle", "vv", "vh"))
    np.testing.assert_allclose(angle[0], raster, rtol=1e-6)
    np.testing.assert_array_equal(angle[1], angles(passes(seen_by()))[0])
    assert (angle[2] == 38).all()
    # Only gamma0 is brought to sigma0, by the angle on the ellipsoid.
    np.testing.assert_allclose(vv[[0, 2]], 0.1, rtol=1e-6)
    np.testing.assert_allclose(vv[1], 0.1 * np.cos(np.deg2rad(angle[1])), rtol=1e-6)
    np.testing.assert_allclose(vh[1], 0.025 * np.cos(np.deg2rad(angle[1])), rtol=1e-6)
    assert {v.dtype for v in (angle, vv, vh)} == {np.dtype(np.float32)}
    assert not any(f.compute().any() for f in failed)
    assert angle_attrs(given)["source"] == (
        "raster or annotation of the provider: 1 passes; reference orbit of Sentinel-1: 1 passes; "
        "one number for the scene: 1 passes"
    )


def test_passes_of_several_orbits() -> None:
    items = [
        seen_by("a"),
        seen_by("b", relative_orbit=59),
        seen_by("c", relative_orbit=DESCENDING, orbit_state="descending"),
        seen_by("d", platform="sentinel-1b"),
    ]
    angle = angles(passes(*items))
    for index, item in enumerate(items):
        alone = angles(passes(item))[0]
        np.testing.assert_array_equal(angle[index], alone)
    np.testing.assert_array_equal(angle[0], angle[3])
    assert np.abs(angle[0] - angle[1]).min() > 5


def test_slices_of_one_pass_need_a_raster_each() -> None:
    first = seen_by("first")
    second = dataclasses.replace(
        first, id="second", rasters={**first.rasters, "incidence_angle": Raster("/nowhere/a.tif")}
    )
    assert angle_source(Acquisition(first.time, (first, second), (), ())) == "orbit"
    assert angle_source(Acquisition(first.time, (second, second), (), ())) == "raster"


# --- real items ---------------------------------------------------------------------------------


def test_a_real_rtc_item_has_the_angles_of_its_swath(test_data: Path) -> None:
    path = test_data / "stac/planetary-computer/sentinel-1-rtc/items-limit1.json"
    content = json.loads(path.read_text())
    (item,) = content if isinstance(content, list) else content["features"]
    stated = item["properties"]
    west, south, east, north = item["bbox"]
    observed = seen_by(
        footprint=(west, south, east, north),
        time=pd.Timestamp(stated["datetime"]).tz_localize(None),
        relative_orbit=stated["sat:relative_orbit"],
        orbit_state=stated["sat:orbit_state"],
        platform=stated["platform"].lower(),
    )
    grid = make_grid((west + 0.5, south + 0.5, east - 0.5, north - 0.5), resolution=500)
    angle = angles(passes(observed), grid)[0]
    assert 30 < angle.min() < 36
    assert 41 < angle.max() < 46.5
    # Descending and right-looking: the near range is in the east.
    assert (np.diff(angle, axis=1) < 0).all()


def test_the_orbit_replaces_the_stated_angle_of_a_real_site(flanders: Path) -> None:
    for item in json.loads((flanders / "sentinel-1-sigma0.json").read_text())["features"]:
        stated = item["properties"]
        west, south, east, north = item["bbox"]
        observed = seen_by(
            footprint=(west, south, east, north),
            relative_orbit=stated["sat:relative_orbit"],
            orbit_state=stated["sat:orbit_state"],
            incidence_angle=stated["view:incidence_angle"],
        )
        assert angle_source(passes(observed)[0]) == "orbit"
