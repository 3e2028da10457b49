from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Geod, Transformer

from gssm import shadow
from gssm.errors import CubeError
from gssm.grid import make_grid
from gssm.quality import BY_MEANING, quality_flag
from gssm.shadow import local_incidence_angle, look_azimuth
from helpers import no_compute

HIDDEN = BY_MEANING["layover_or_shadow"].mask
OUT_OF_RANGE = BY_MEANING["local_incidence_out_of_range"].mask


def cube_of(
    elevation: Any = 0.0,
    angle: Any = 38.0,
    states: tuple[str, ...] = ("ascending", "descending"),
    grid: GeoBox | None = None,
) -> xr.Dataset:
    """Radar over given elevation, one time per orbit state."""
    grid = grid or make_grid((7.0, 46.0, 7.005, 46.004))
    shape = (len(states), *grid.shape)
    ones = np.ones(shape, np.float32)
    return xr.Dataset(
        {
            "vv": (("time", "y", "x"), 0.1 * ones, {"units": "1"}),
            "vh": (("time", "y", "x"), 0.02 * ones, {"units": "1"}),
            "incidence_angle": (("time", "y", "x"), (angle * ones).astype(np.float32)),
            "dsm": (("y", "x"), np.broadcast_to(np.float32(elevation), grid.shape).copy()),
        },
        coords={
            **xr_coords(grid),
            "time": pd.date_range("2020-06-10", periods=len(states)),
            "orbit_state": ("time", np.array(states, dtype=object)),
        },
    )


def leaning(cube: xr.Dataset, degrees: float, towards: float) -> xr.Dataset:
    """Make the ground a plane that goes down towards an azimuth of the grid, in degrees."""
    along = cube["x"] * math.sin(math.radians(towards)) + cube["y"] * math.cos(
        math.radians(towards)
    )
    height = -math.tan(math.radians(degrees)) * (along - along.mean())
    return cube.assign(dsm=height.transpose("y", "x").astype(np.float32))


def facing_radar(cube: xr.Dataset, state: str) -> float:
    """Azimuth of the grid, in degrees, from the middle of a cube towards the radar."""
    middle = cube["x"].mean().item(), cube["y"].mean().item()
    to_grid = Transformer.from_crs(
        "EPSG:4326", cube["spatial_ref"].attrs["crs_wkt"], always_xy=True
    )
    longitude, latitude = to_grid.transform(*middle, direction="INVERSE")
    angle = cube["incidence_angle"].mean().item()
    azimuth = float(look_azimuth(latitude, angle, state)) + 180
    ahead = Geod(ellps="WGS84").fwd(longitude, latitude, azimuth, 100)[:2]
    x, y = to_grid.transform(*ahead)
    return math.degrees(math.atan2(x - middle[0], y - middle[1])) % 360


# --- direction of the beam ------------------------------------------------------------------


def geolocation_grids(folder: Path) -> list[tuple[str, list[dict[str, float]]]]:
    """Pass and geolocation grid points of every real annotation."""
    grids = []
    for file in sorted(folder.glob("*/annotation/s1*-vv-*.xml")):
        root = ET.parse(file).getroot()
        points = [{c.tag: c.text for c in p} for p in root.iter("geolocationGridPoint")]
        names = ("line", "pixel", "latitude", "longitude", "incidenceAngle")
        state = str(root.findtext(".//pass")).lower()
        grids.append((state, [{n: float(p[n] or "nan") for n in names} for p in points]))
    return grids


def test_beam_of_real_scenes(test_data: Path) -> None:
    grids = geolocation_grids(test_data / "scenes" / "s1_annotation")
    assert len(grids) == 2
    for state, points in grids:
        compared = 0
        for a, b in pairwise(points):
            if a["line"] != b["line"]:  # one line is one zero-Doppler time: across the track
                continue
            forward, back, _ = Geod(ellps="WGS84").inv(
                *(p[n] for p in (a, b) for n in ("longitude", "latitude"))
            )
            along = (forward + back + 180) / 2 if abs(forward - back - 180) < 90 else forward
            seen = look_azimuth(
                (a["latitude"] + b["latitude"]) / 2,
                (a["incidenceAngle"] + b["incidenceAngle"]) / 2,
                state,
            )
            assert abs((seen - along + 180) % 360 - 180) < 0.5
            compared += 1
        assert compared > 100


def test_beam_is_to_the_right_of_the_flight() -> None:
    # On the equator: 8.18 degrees of inclination and 3.9 of the turning Earth from north.
    assert look_azimuth(0.0, 38.0, "ascending") == pytest.approx(90 - 12.0, abs=0.5)
    assert look_azimuth(0.0, 38.0, "descending") == pytest.approx(270 + 12.0, abs=0.5)
    # North and south, ascending and descending are mirror images in time.
    north = look_azimuth(40.0, 38.0, "ascending")
    assert look_azimuth(40.0, 38.0, "descending") == pytest.approx(360 - north, abs=1e-6)
    # Nobody flies over the pole: no direction, and no exception.
    assert np.isnan(look_azimuth(89.9, 38.0, "ascending"))
    assert np.isfinite(look_azimuth(70.0, [29.0, 46.5], "descending")).all()


@pytest.mark.parametrize(
    "grid",
    [
        make_grid((8.0, 45.0, 12.9, 49.9), 10_000),  # as wide as a box may be
        make_grid((30.0, 65.0, 34.9, 69.9), 10_000),
        make_grid((-72.0, -50.0, -67.1, -45.1), 10_000),
        make_grid((179.0, -19.0, 180.0, -17.0), 10_000),
        GeoBox.from_bbox(
            (3_000_000, 1_000_000, 3_200_000, 1_200_000), "EPSG:5041", resolution=10_000
        ),
        GeoBox.from_bbox(
            (4_000_000, 3_000_000, 4_300_000, 3_300_000), "EPSG:3035", resolution=10_000
        ),
    ],
    ids=["45N", "65N", "50S", "180E", "UPS", "LAEA"],
)
def test_fitted_direction_is_that_of_every_place(grid: GeoBox) -> None:
    cube = cube_of(grid=grid)
    inputs, look = shadow.terrain_inputs(cube)
    for angle in (30.0, 38.0, 46.0):
        for index, state in enumerate(shadow.ORBIT_STATES):
            beam = [
                sum(
                    (angle - shadow.NEAR) ** k
                    * shadow._polynomial(
                        {
                            "look_y": inputs["look_y"].values[:, None],
                            "look_x": inputs["look_x"].values[None, :],
                            "orbit": np.array([[index]]),
                        },
                        look[:, k, component],
                    )
                    for k in range(2)
                )
                for component in range(2)
            ]
            for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1), (5, 7)):
                here = cube.isel(y=[row], x=[column]).assign(
                    incidence_angle=cube["incidence_angle"].isel(y=[row], x=[column]) * 0 + angle
                )
                expected = facing_radar(here, state) + 180
                seen = math.degrees(math.atan2(beam[1][row, column], beam[0][row, column]))
                assert abs((seen - expected + 180) % 360 - 180) < 0.5
                assert math.hypot(beam[0][row, column], beam[1][row, column]) == pytest.approx(
                    1, abs=1e-2
                )


# --- local incidence ------------------------------------------------------------------------


@pytest.mark.parametrize("state", shadow.ORBIT_STATES)
@pytest.mark.parametrize("degrees", [0.0, 5.0, 20.0, 50.0])
def test_local_incidence_of_planes_in_the_plane_of_the_beam(state: str, degrees: float) -> None:
    cube = cube_of(angle=35.0, states=(state,))
    toward = facing_radar(cube, state)
    for azimuth, expected in ((toward, abs(35 - degrees)), (toward + 180, 35 + degrees)):
        seen = local_incidence_angle(leaning(cube, degrees, azimuth))
        np.testing.assert_allclose(seen, expected, atol=0.1)
    across = local_incidence_angle(leaning(cube, degrees, toward + 90))
    cosine = math.cos(math.radians(35)) * math.cos(math.radians(degrees))
    np.testing.assert_allclose(across, math.degrees(math.acos(cosine)), atol=0.1)


@pytest.mark.parametrize("state", shadow.ORBIT_STATES)
@pytest.mark.parametrize(
    ("degrees", "turn", "hides", "out"),
    [
        (0, 0, False, False),
        (10, 0, False, False),  # 38 - 10
        (19, 0, False, True),  # 38 - 19 = 19
        (37, 0, False, True),
        (39, 0, True, True),  # layover
        (6, 180, False, False),
        (8, 180, False, True),  # 38 + 8 = 46
        (51, 180, False, True),
        (53, 180, True, True),  # 38 + 53 > 90: shadow
        (60, 90, False, True),  # as steep, but across the beam
    ],
)
def test_flags_of_planes(state: str, degrees: float, turn: float, hides: bool, out: bool) -> None:
    cube = cube_of(states=(state,))
    cube = leaning(cube, degrees, facing_radar(cube, state) + turn)
    flags = quality_flag(cube).values
    assert (flags & HIDDEN != 0).all() == (flags & HIDDEN != 0).any() == hides
    assert (flags & OUT_OF_RANGE != 0).all() == (flags & OUT_OF_RANGE != 0).any() == out


def test_the_other_orbit_sees_the_other_side() -> None:
    cube = cube_of()
    west = leaning(cube, 45, 270)  # faces west: an ascending pass looks from there
    hides = quality_flag(west) & HIDDEN != 0
    assert hides[0].all()
    assert not hides[1].any()
    assert (local_incidence_angle(west)[1] > 80).all()


def relief(cube: xr.Dataset) -> xr.Dataset:
    """Steep hills with gaps, and a different angle at every pixel."""
    x, y = cube["x"] - cube["x"].min(), cube["y"] - cube["y"].min()
    height = 150 * np.sin(x / 40) * np.cos(y / 55)
    height = height.transpose("y", "x").astype(np.float32)
    height[3, 5] = np.nan
    angle = (cube["incidence_angle"] + x / 200).transpose("time", "y", "x").astype(np.float32)
    return cube.assign(dsm=height, incidence_angle=angle)


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 1, "x": 1}, {"y": 7, "x": 13}, {"time": 1}])
def test_chunks_change_nothing(chunks: dict[str, int]) -> None:
    cube = relief(cube_of(grid=make_grid((7.0, 46.0, 7.002, 46.001)), states=("ascending", "")))
    with no_compute():
        lazy = quality_flag(cube.chunk(chunks)), local_incidence_angle(cube.chunk(chunks))
    whole = quality_flag(cube), local_incidence_angle(cube)
    for seen, expected in zip(lazy, whole, strict=True):
        np.testing.assert_array_equal(seen, expected)
    hides = (whole[0] & HIDDEN != 0).values
    assert 0.05 < hides[0].mean() < 0.9
    assert not hides[1].any()  # orbit unknown


def test_what_is_unknown_is_not_flagged() -> None:
    cube = relief(cube_of())
    gap = quality_flag(cube).values[:, 3, 5 - 3 : 5 + 4 : 3]
    assert (gap[:, [0, 2]] & (HIDDEN | OUT_OF_RANGE) == 0).all()  # beside it, the slope is unknown
    missing = BY_MEANING["elevation_missing"].mask
    for without in (
        cube.drop_vars("orbit_state"),
        cube.drop_vars("spatial_ref"),
        cube.drop_vars("dsm"),
        cube.drop_vars("incidence_angle"),
        cube.isel(x=[0]),
        cube.drop_vars(["x", "y"]),
    ):
        flags = quality_flag(without).values & ~np.uint16(missing)
        assert (flags & (HIDDEN | OUT_OF_RANGE) == 0).all()
        with pytest.raises(CubeError, match=r"make the cube with gssm\.open_cube"):
            local_incidence_angle(without)
    angle = cube["incidence_angle"].where(cube["x"] > cube["x"].mean())
    flags = quality_flag(cube.assign(incidence_angle=angle))
    assert (flags.where(angle.isnull(), 0).astype(int) & (HIDDEN | OUT_OF_RANGE) == 0).all()


def test_the_orbit_is_told_from_texts_of_every_kind():
    """As objects, of one length, of any length as Zarr has them, and with one unknown."""
    states = np.array(["ascending", "descending", "ascending"])
    kinds = [states, states.astype(object), states.astype(np.dtypes.StringDType())]
    for kind in (*kinds, np.array([*states[:2], None], dtype=object)):
        expected = [0, 1, -1 if kind[2] is None else 0]
        np.testing.assert_array_equal(shadow._orbit(kind), expected)
    assert shadow._orbit(np.array("descending", object)) == 1
