import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compare.stations import field
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.compare.canonical import Grid
from gssm.compare.overlap import area_mean, overlaps
from gssm.errors import EmptySearchError, RequestError
from helpers import no_compute

DAY = pd.DatetimeIndex(["2020-06-01"])
METRES = "EPSG:6933"


def metres(values, side, top=0.0, left=0.0, times=DAY, crs=METRES):
    values = np.asarray(values, float)
    values = values[None] if values.ndim == 2 else values
    rows, columns = values.shape[1:]
    y = top - side * (np.arange(rows) + 0.5)
    x = left + side * (np.arange(columns) + 0.5)
    return field(values, times, y=y, x=x, crs=crs)


def test_whole_numbers_of_pixels_are_plain_means():
    values = np.arange(24.0).reshape(4, 6)
    found = area_mean(metres(values, 10), metres(np.zeros((2, 2)), 30, top=-0.0))
    by_hand = [[values[:3, :3].mean(), values[:3, 3:].mean()]]
    np.testing.assert_allclose(found["soil_moisture"][0, :1], by_hand)
    # Of the second row of cells a third is there.
    np.testing.assert_allclose(found["valid_fraction"][0], [[1, 1], [1 / 3, 1 / 3]], rtol=1e-6)
    assert np.isnan(found["soil_moisture"][0, 1]).all()
    third = area_mean(metres(values, 10), metres(np.zeros((2, 2)), 30), min_valid=1 / 3)
    np.testing.assert_allclose(
        third["soil_moisture"][0, 1], [values[3, :3].mean(), values[3, 3:].mean()]
    )


def test_pixels_on_a_border_count_by_their_share():
    # Pixels of 2 over cells of 3: the second pixel lies half in each.
    found = area_mean(
        metres([[1, 5, 9], [1, 5, 9], [1, 5, 9]], 2), metres(np.zeros((2, 2)), 3), min_valid=1
    )
    np.testing.assert_allclose(found["soil_moisture"][0], [[7 / 3, 23 / 3]] * 2)
    np.testing.assert_allclose(found["valid_fraction"][0], 1)


def test_pixels_without_a_value_have_no_area():
    values = [[1.0, np.nan], [3.0, np.nan]]
    like = metres(np.zeros((2, 2)), 20, top=20, left=-20)
    fine = metres(values, 10)
    assert float(area_mean(fine, like)["soil_moisture"].max()) == 2
    assert np.isnan(area_mean(fine, like, min_valid=0.51)["soil_moisture"]).all()
    np.testing.assert_allclose(area_mean(fine, like)["valid_fraction"].max(), 0.5)


@settings(max_examples=40)
@given(
    st.integers(2, 8),
    st.integers(2, 8),
    st.floats(0.31, 1.0),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_what_is_averaged_is_conserved(rows, columns, side, top, left, rises, seed):
    """The integral over the cells is that over the pixels, wherever the grids lie."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (rows, columns)) * np.where(
        rng.random((rows, columns)) < 0.2, np.nan, 1
    )
    fine = metres(values, side, top, left)
    like = metres(np.zeros((26, 26)), 1.0, top=13, left=-13)
    if rises:
        fine, like = fine.isel(y=slice(None, None, -1)), like.isel(y=slice(None, None, -1))
    found = area_mean(fine, like, min_valid=1e-6)
    area = found["valid_fraction"].values
    assert area.max() <= 1 + 1e-6
    total = np.nansum(found["soil_moisture"].values * area)
    np.testing.assert_allclose(total, np.nansum(values) * side**2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(area.sum(), np.isfinite(values).sum() * side**2, rtol=1e-5)


def test_degrees_weigh_by_their_area_on_the_sphere():
    # A cell from 0 to 60 N of two rows: 0-30 has sin 30 = 1/2, 30-60 has sin 60 - 1/2.
    fine = field([[[1.0, 1.0], [0.0, 0.0]]], DAY, y=[15.0, 45.0], x=[5.0, 15.0])
    like = field([[[0.0, 0.0], [0.0, 0.0]]], DAY, y=[30.0, 90.0], x=[10.0, 30.0])
    found = area_mean(fine, like, min_valid=0.9)["soil_moisture"].values
    assert found[0, 0, 0] == pytest.approx(0.5 / np.sin(np.pi / 3), rel=1e-6)


def test_another_projection_conserves_area():
    """Pixels of 500 m in UTM over cells of 9 km of the equal-area grid."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 0.4, (60, 60))
    fine = metres(values, 500.0, top=5_660_000, left=480_000, crs="EPSG:32631")
    like = metres(np.zeros((8, 8)), 9008.055, top=5_740_000, left=250_000)
    found = area_mean(fine, like, min_valid=0.01)
    area = found["valid_fraction"].values * 9008.055**2
    # Metres of UTM are 0.04 % short in the middle of a zone.
    assert area.sum() == pytest.approx(30_000**2 / 0.9996**2, rel=1e-3)
    mean = np.nansum(found["soil_moisture"].values * area) / area.sum()
    assert mean == pytest.approx(values.mean(), rel=2e-3)
    whole = found["valid_fraction"].values >= 1 - 1e-6
    assert whole.sum() >= 2


def test_a_constant_stays_what_it_is_under_any_projection():
    fine = metres(np.full((40, 40), 0.3), 500.0, top=5_660_000, left=480_000, crs="EPSG:32631")
    for like in (
        metres(np.zeros((8, 8)), 9008.055, top=5_740_000, left=250_000),
        field(np.zeros((1, 8, 8)), DAY, y=51.4 - 0.1 * np.arange(8), x=2.5 + 0.1 * np.arange(8)),
    ):
        found = area_mean(fine, like, min_valid=0.001)["soil_moisture"].values
        np.testing.assert_allclose(found[np.isfinite(found)], 0.3, rtol=1e-6)
        assert np.isfinite(found).sum() >= 4


def test_longitudes_from_0_to_360_are_the_same_places():
    fine = field(np.full((1, 4, 4), 0.2), DAY, y=[1.5, 1.0, 0.5, 0.0], x=[-2.0, -1.5, -1.0, -0.5])
    like = field(np.zeros((1, 2, 3)), DAY, y=[1.0, -1.0], x=[357.0, 359.0, 361.0])
    found = area_mean(fine, like, min_valid=0.2)["soil_moisture"].values
    assert np.isfinite(found).any()


def test_nothing_is_computed_before_it_is_asked_for():
    values = np.arange(32.0).reshape(2, 4, 4)
    times = pd.DatetimeIndex(["2020-06-01", "2020-06-02"])
    plain = metres(values, 10, times=times)
    like = metres(np.zeros((2, 2)), 20)
    with no_compute():
        lazy = area_mean(plain.chunk({"time": 1, "y": 2, "x": 3}), like)
    assert lazy["soil_moisture"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), area_mean(plain, like))
    assert lazy["soil_moisture"].attrs["units"] == "m3 m-3"


def test_the_cells_that_are_touched_and_one_around_them():
    fine = metres(np.zeros((2, 2)), 10, top=-100, left=100)
    like = metres(np.zeros((10, 10)), 30)
    found = area_mean(fine, like)
    np.testing.assert_allclose(found["y"], like["y"].values[2:5])
    np.testing.assert_allclose(found["x"], like["x"].values[2:5])


def test_what_makes_no_mean_is_refused():
    fine, coarse = metres(np.zeros((3, 3)), 10), metres(np.zeros((2, 2)), 30)
    with pytest.raises(RequestError, match=r"9 times as large as the cells.*swap the two"):
        area_mean(coarse, fine)
    with pytest.raises(EmptySearchError, match="share no area"):
        area_mean(fine, metres(np.zeros((2, 2)), 30, top=1e6))
    for wrong in (0, 1.1, "half"):
        with pytest.raises(RequestError, match="no share of a cell"):
            area_mean(fine, coarse, min_valid=wrong)


def test_a_grid_over_itself_is_itself():
    values = np.arange(12.0).reshape(3, 4)
    fine = metres(values, 10)
    np.testing.assert_allclose(area_mean(fine, fine, min_valid=1)["soil_moisture"][0], values)


def test_shares_are_the_areas_of_rectangles():
    grid = Grid("y", "x", np.array([-1.0, -3.0]), np.array([1.0, 3.0]), METRES)
    cells = Grid("y", "x", np.array([-1.5, -4.5]), np.array([1.5, 4.5]), METRES)
    shared = overlaps(grid, cells)
    found = {(p, c): a for p, c, a in zip(shared.pixel, shared.cell, shared.area, strict=True)}
    assert found == {
        (0, 0): 4,
        **{(1, 0): 2, (1, 1): 2},
        **{(2, 0): 2, (2, 2): 2},
        **{(3, 0): 1, (3, 1): 1, (3, 2): 1, (3, 3): 1},
    }


# --- grids around the world -------------------------------------------------------------------

AROUND = {"from 0": np.arange(0, 360, 1.0), "from -180": np.arange(-180, 180, 1.0) + 0.5}


def globe(longitudes, value):
    latitudes = np.arange(-60, 60, 1.0) + 0.5
    values = np.broadcast_to(value(longitudes), (1, len(latitudes), len(longitudes)))
    return field(values, DAY, y=latitudes, x=longitudes)


@pytest.mark.parametrize("longitudes", AROUND.values(), ids=AROUND)
def test_no_pixel_is_torn_apart_at_the_antimeridian(longitudes):
    """Only pixels at 180 degrees are wet: they must not reach the cells of the other places."""
    fine = globe(longitudes, lambda x: np.where(abs(abs(x) - 180) < 0.6, 0.9, 0.2))
    like = metres(np.zeros((16, 40)), 850_000, top=6_800_000, left=-17_000_000)
    found = area_mean(fine, like)["soil_moisture"].isel(x=slice(2, -2)).values
    np.testing.assert_allclose(found[np.isfinite(found)], 0.2, rtol=1e-6)
    assert np.isfinite(found).sum() > 400


@pytest.mark.parametrize("west", [-180, 0])
def test_the_whole_turn_is_averaged_wherever_it_begins(west):
    fine = globe(np.arange(0, 360, 1.0), lambda x: x / 1000)
    like = field(
        np.zeros((1, 12, 36)), DAY, y=np.arange(-55, 60, 10.0), x=west + 5 + np.arange(0, 360, 10.0)
    )
    found = area_mean(fine, like)
    np.testing.assert_allclose(found["valid_fraction"], 1, rtol=1e-5)
    # Pixels of 180 and 190 count half.
    by_hand = np.average(np.arange(180, 191) / 1000, weights=[0.5, *[1] * 9, 0.5])
    at = found["soil_moisture"].isel(x=int(np.argmin(abs((found["x"].values - 185) % 360))))
    np.testing.assert_allclose(at, by_hand, rtol=1e-5)


@pytest.mark.parametrize("west", [-180, 0])
@pytest.mark.parametrize(("middle", "crs"), [(0, "EPSG:4326"), (180, "EPSG:32660")])
def test_a_product_across_the_end_of_the_cells_is_in_both_halves(west, middle, crs):
    if crs == "EPSG:4326":
        fine = field(
            np.full((1, 8, 8), 0.25), DAY, y=51 + np.arange(8) / 4, x=np.arange(-3.5, 4) / 4
        )
    else:
        fine = metres(np.full((30, 30), 0.25), 2000.0, top=7_260_000, left=610_000, crs=crs)
    x = west + 0.25 + np.arange(0, 360, 0.5)
    like = field(np.zeros((1, 80, 720)), DAY, y=30.25 + np.arange(80) / 2, x=x)
    found = area_mean(fine, like)["soil_moisture"]
    places = found["x"].values[np.isfinite(found[0]).any("y")]
    away = (places - middle + 180) % 360 - 180
    assert (away < 0).any()
    assert (away > 0).any()
    assert abs(away).max() < 1.5


def test_a_product_where_the_projection_has_no_place_is_told():
    far = metres(np.full((3, 3), 0.2), 1e9, top=8e9, left=8e9)
    like = field(np.zeros((1, 4, 4)), DAY)
    with pytest.raises(EmptySearchError, match="no pixel in the projection"):
        area_mean(far, like)


def test_moments_of_observation_go_along():
    fine = metres(np.full((2, 2), 0.2), 10)
    moments = DAY[0] + pd.to_timedelta([[1, 3], [1, 3]], "h").values.reshape(1, 2, 2)
    fine["observation_time"] = (("time", "y", "x"), moments)
    fine["soil_moisture"][0, 0, 0] = np.nan
    like = metres(np.zeros((2, 2)), 20, top=20)
    found = area_mean(fine, like)
    hours = (found["observation_time"] - found["time"]).values / np.timedelta64(1, "h")
    assert hours[0, 1, 0] == pytest.approx(7 / 3, abs=1e-3)
    lazy = area_mean(fine.chunk({"y": 1}), like)
    xr.testing.assert_identical(lazy["observation_time"].compute(), found["observation_time"])
