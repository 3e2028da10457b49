import numpy as np
import pandas as pd
import pytest
from compare.stations import field
from hypothesis import given
from hypothesis import strategies as st

from gssm.compare.canonical import Grid, check_product
from gssm.compare.cells import cells_at, distance_metres, edges, product_series, window
from gssm.errors import CubeError, EmptySearchError, MissingVariableError
from helpers import no_compute

DAY = pd.DatetimeIndex(["2020-06-01"])


def places(*points):
    names = [f"NET/st{n}" for n in range(len(points))]
    table = pd.DataFrame(points, columns=["longitude", "latitude"], index=names)
    return table.rename_axis("station")


def degrees(y, x):
    return Grid("y", "x", np.asarray(y, float), np.asarray(x, float), "EPSG:4326")


def at(grid, *points):
    lon, lat = np.array(points, float).T
    cells = cells_at(grid, lon, lat)
    return list(zip(cells.rows.tolist(), cells.columns.tolist(), strict=True))


def test_a_place_lies_in_the_cell_whose_edges_hold_it():
    grid = degrees([51, 50, 49], [3, 4])  # edges 51.5 to 48.5 and 2.5 to 4.5
    assert at(grid, (3.49, 50.51), (3.51, 50.49), (2.6, 48.6)) == [(0, 0), (1, 1), (2, 0)]
    # The outermost edges belong to the grid, and a shared edge to one cell only.
    assert at(grid, (2.5, 51.5), (4.5, 48.5), (3.5, 50.5)) == [(0, 0), (2, 1), (0, 1)]
    assert at(grid, (2.49, 50), (4.51, 50), (3, 51.51), (3, 48.4)) == [
        (1, -1),
        (1, -1),
        (-1, 0),
        (-1, 0),
    ]


def test_rows_may_rise_or_fall():
    places = [(3.2, 50.8), (3.9, 49.2)]
    falling, rising = degrees([51, 50, 49], [3, 4]), degrees([49, 50, 51], [3, 4])
    assert at(falling, *places) == [(0, 0), (2, 1)]
    assert at(rising, *places) == [(2, 0), (0, 1)]


def test_longitudes_count_from_any_meridian():
    grid = degrees([1, 0], np.arange(0.5, 360))
    assert at(grid, (-0.2, 0.1), (-179.9, 0.1), (179.9, 0.1), (0.2, 0.1)) == [
        (1, 359),
        (1, 180),
        (1, 179),
        (1, 0),
    ]
    across = degrees([1, 0], [179, 180, 181])
    assert at(across, (-179.2, 0), (179.2, 0), (-178.4, 0)) == [(1, 2), (1, 0), (1, -1)]


def test_a_projected_grid_is_asked_in_its_own_metres():
    # 3 E is the middle of zone 31: easting 500 km.
    grid = Grid(
        "y", "x", 5_650_000 - 10.0 * np.arange(9), 499_960 + 10.0 * np.arange(9), "EPSG:32631"
    )
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(500_004.9, 5_649_964.9)
    assert at(grid, (lon, lat)) == [(4, 4)]
    lon, lat = to_degrees.transform(500_005.1, 5_649_965.1)
    assert at(grid, (lon, lat)) == [(3, 5)]


@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=20, unique=True).filter(
        lambda v: np.diff(np.sort(v)).min() > 1e-6
    ),
    st.booleans(),
)
def test_every_centre_lies_in_its_own_cell(centres, falls):
    centres = np.sort(centres)[:: -1 if falls else 1]
    limits = edges(centres)
    assert len(limits) == len(centres) + 1
    grid = degrees(centres, [0, 1])
    assert at(grid, *((0.0, c) for c in centres)) == [(n, 0) for n in range(len(centres))]


def test_series_are_the_values_of_the_stations_cells():
    values = np.arange(12.0).reshape(2, 2, 3) / 100
    values[1, 0, 0] = np.nan
    times = pd.DatetimeIndex(["2020-06-01", "2020-06-02"])
    product = field(values, times)  # rows 51.0, 50.9; columns 3.05, 3.15, 3.25
    table, left_out = product_series(
        product, places((3.05, 51.0), (3.26, 50.88), (9, 51)), name="p"
    )
    found = {s: own["value"].tolist() for s, own in table.groupby("station")}
    assert found == {
        "NET/st0": [0.0],
        "NET/st1": pytest.approx([0.05, 0.11]),
    }
    assert table["time"].dtype == "datetime64[ns]"
    assert left_out == {"stations outside p": 1}


def test_dimensions_may_stand_in_any_order():
    values = np.arange(12.0).reshape(2, 2, 3) / 100
    times = pd.DatetimeIndex(["2020-06-01", "2020-06-02"])
    product = field(values, times)
    turned = product.transpose("x", "time", "y").rename(x="lon", y="lat")
    one, other = (product_series(p, places((3.25, 50.9)))[0] for p in (product, turned))
    pd.testing.assert_frame_equal(one, other)
    alone = product["soil_moisture"].isel(time=0)
    assert product_series(alone, places((3.25, 50.9)))[0]["value"].tolist() == pytest.approx([0.05])


def test_values_that_are_advised_against_are_left_out_and_counted():
    product = field(np.full((2, 2, 2), 0.3), pd.DatetimeIndex(["2020-06-01", "2020-06-02"]))
    product["recommended"] = product["soil_moisture"].copy(data=np.ones((2, 2, 2), np.uint8))
    product["recommended"][1, 0, 0] = 0
    place = places((3.05, 51.0))
    table, left_out = product_series(product, place, name="p")
    assert table["time"].dt.day.tolist() == [1]
    assert left_out == {"values of p that its own flags advise against": 1}
    kept, left_out = product_series(product, place, name="p", flagged=True)
    assert len(kept) == 2
    assert left_out == {}


def test_a_cell_is_as_old_as_its_own_observation():
    product = field(np.full((1, 2, 2), 0.3), DAY)
    moments = np.full((1, 2, 2), np.datetime64("NaT", "ns"))
    moments[0, 0, 0] = np.datetime64("2020-06-01T17:42", "ns")
    product["observation_time"] = product["soil_moisture"].copy(data=moments)
    table, _ = product_series(product, places((3.05, 51.0), (3.15, 51.0)))
    assert table["time"].dt.strftime("%H:%M").tolist() == ["17:42", "00:00"]


def test_the_nearest_cell_with_a_value():
    values = np.full((1, 3, 3), np.nan)
    values[0, 0, 2] = values[0, 2, 0] = 0.4
    values[0, 1, 2] = 0.1
    product = field(values, DAY, y=[51.0, 50.99, 50.98], x=[3.0, 3.01, 3.02])
    place = places((3.0, 51.0))
    assert product_series(product, place)[0].empty
    # 3.02 E is 1400 m away, 50.98 N 2200 m.
    near, _ = product_series(product, place, method="nearest", max_distance=1500)
    assert near["value"].tolist() == pytest.approx([0.4])
    assert product_series(product, place, method="nearest", max_distance=1300)[0].empty
    # Outside of the grid too, but no station that has its own value is moved.
    beyond, left_out = product_series(
        product, places((3.04, 50.99)), name="p", method="nearest", max_distance=1500
    )
    assert beyond["value"].tolist() == pytest.approx([0.1])
    assert left_out == {}
    own, _ = product_series(product, places((3.02, 50.99)), method="nearest", max_distance=9000)
    assert own["value"].tolist() == pytest.approx([0.1])


@pytest.mark.parametrize("latitude", [0.0, 45.0, 70.0])
def test_metres_are_on_the_ground_in_every_projection(latitude):
    """In the equal-area grid of SMAP a metre of x is three on the ground at 70 degrees."""
    from pyproj import Transformer

    from gssm.compare.smap import EASE2

    to_grid = Transformer.from_crs("EPSG:4326", EASE2, always_xy=True)
    x, y = to_grid.transform(10.0, latitude)
    values = np.full((1, 3, 3), np.nan)
    values[0, 1, 2] = 0.2
    product = field(
        values, DAY, y=y - 5000.0 * np.arange(-1, 2), x=x + 5000.0 * np.arange(-1, 2), crs=EASE2
    )
    lon, lat = to_grid.transform(x + 5000, y, direction="INVERSE")
    away = float(distance_metres(10.0, latitude, np.array([lon]), np.array([lat]))[0])
    place = places((10.0, latitude))
    near, _ = product_series(product, place, method="nearest", max_distance=1.01 * away)
    assert near["value"].tolist() == pytest.approx([0.2])
    assert product_series(product, place, method="nearest", max_distance=0.99 * away)[0].empty


def test_only_the_cells_of_stations_are_read():
    import dask.array as da

    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.full((1, 1, 1), 0.2, np.float32)

    product = field(np.zeros((1, 4, 4)), DAY)
    lazy = da.map_blocks(block, chunks=((1,), (1,) * 4, (1,) * 4), dtype=np.float32)
    read.clear()
    product["soil_moisture"] = product["soil_moisture"].copy(data=lazy)
    with pytest.raises(AssertionError, match="computed"), no_compute():
        product_series(product, places((3.05, 51.0)))
    product_series(product, places((3.05, 51.0), (3.25, 50.8)))
    assert sorted(read) == [(0, 0, 0), (0, 2, 2)]


def test_a_window_holds_the_cells_that_a_box_touches():
    grid = degrees([51, 50, 49, 48], [3, 4, 5, 6])
    assert window(grid, None, "p") == {}
    assert window(grid, (3.6, 49.6, 3.7, 49.7), "p") == {"y": slice(0, 3), "x": slice(0, 3)}
    assert window(grid, (2.0, 47.0, 9.0, 60.0), "p") == {"y": slice(0, 4), "x": slice(0, 4)}
    with pytest.raises(EmptySearchError, match=r"p has no cell in bbox.*holds none of it"):
        window(grid, (20, 49, 21, 50), "p")


def test_a_window_is_found_by_whole_turns_but_not_across_the_edge():
    east = degrees([1, 0], np.arange(0.5, 360))
    assert window(east, (-10.4, 0, -9.6, 1), "p")["x"] == slice(348, 352)
    world = degrees([1, 0], np.arange(-179.5, 180))
    for box in ((179, 0, -179, 1), (179, 0, 181, 1)):
        with pytest.raises(EmptySearchError, match="across the edge of its grid"):
            window(world, box, "p")
    across = degrees([1, 0], [178.0, 179, 180, 181])
    assert window(across, (179.6, 0, -179.6, 1), "p")["x"] == slice(1, 4)
    equal_area = Grid("y", "x", np.array([1e6, 0.0]), 1e6 * np.arange(-17, 18), "EPSG:6933")
    with pytest.raises(EmptySearchError, match="across the edge of its grid"):
        window(equal_area, (179, 0, -179, 1), "p")


def changed(**attrs):
    return lambda p: p.assign(soil_moisture=p.soil_moisture.assign_attrs(**attrs))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda p: p.rename(soil_moisture="sm"), MissingVariableError, "no variable 'soil_moi"),
        (changed(units=""), CubeError, "has no units"),
        (changed(units="%"), CubeError, "percent of volume or of saturation"),
        (changed(units="kg m-2"), CubeError, "units 'kg m-2'"),
        (lambda p: p.drop_vars("spatial_ref"), CubeError, "nothing says which CRS"),
        (lambda p: p.drop_vars("x"), CubeError, "need coordinates"),
        (lambda p: p.assign_coords(y=[51.0, 51.0]), CubeError, "rise or fall"),
        (lambda p: p.isel(y=[0]), CubeError, "one cell"),
        (lambda p: p.assign_coords(time=[0]), CubeError, "no time of the standard calendar"),
        (lambda p: p.isel(time=0, drop=True), CubeError, "coordinate 'time'"),
        (lambda p: p.expand_dims(member=2), CubeError, "has the dimensions"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, error, says):
    product = field(np.full((1, 2, 2), 0.3), DAY)
    with pytest.raises(error, match=says):
        product_series(change(product), places((3.05, 51.0)))


def test_a_fraction_that_says_what_it_is_of_is_taken():
    product = field(np.full((1, 2, 2), 0.3), DAY, units="1")
    with pytest.raises(CubeError, match="units '1'"):
        product_series(product, places((3.05, 51.0)))
    product["soil_moisture"].attrs["standard_name"] = "volume_fraction_of_condensed_water_in_soil"
    assert len(product_series(product, places((3.05, 51.0)))[0]) == 1


@pytest.mark.parametrize("wrong", [-9999, 1700, 31.0, -0.2])
def test_one_value_that_is_no_soil_moisture_is_refused(wrong):
    values = np.full((3, 2, 2), 0.2)
    values[1, 0, 0] = wrong
    product = field(values, pd.date_range("2020-06-01", periods=3))
    places = pd.DataFrame({"longitude": [3.05], "latitude": [51.0]}, index=["st"])
    with pytest.raises(
        CubeError, match=r"soil_moisture of product 'fill' is .* mask its fill value"
    ):
        product_series(product, places, name="fill")
    values[1, 0, 0] = -0.05  # retrievals have errors
    product = field(values, pd.date_range("2020-06-01", periods=3))
    assert len(product_series(product, places)[0]) == 3


def test_a_time_that_is_there_twice_or_none_is_refused():
    times = pd.DatetimeIndex(["2020-06-01", "2020-06-02", "2020-06-01"])
    with pytest.raises(CubeError, match="product 'two' has 2020-06-01 00:00 twice; give one map"):
        check_product(field(np.zeros((3, 2, 2)), times), "two")
    with pytest.raises(CubeError, match="product 'none' has no time; give"):
        check_product(field(np.zeros((2, 2, 2)), [pd.NaT, times[0]]), "none")
