"""Every reader on files written as its product is published."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compare import product_files as files

from gssm.compare.layouts import LAYOUTS
from gssm.compare.opening import open_product
from gssm.errors import EmptySearchError, ReadError, RequestError
from helpers import no_compute

NAN = np.nan
T = pd.Timestamp


def values_of(product, name="soil_moisture"):
    return product[name].values


def check_shared(product, name):
    """What every reader promises."""
    moisture = product["soil_moisture"]
    assert moisture.dims == ("time", "y", "x")
    assert moisture.dtype == np.float32
    assert moisture.attrs["units"] == "m3 m-3"
    assert moisture.chunks is not None
    assert product.attrs["product"] == name
    assert product.attrs["source"] == LAYOUTS[name].source
    assert product.odc.geobox.crs is not None
    assert product["time"].to_index().is_monotonic_increasing


# --- ESA CCI ------------------------------------------------------------------------------


def test_esa_cci_days_in_order_with_flags_and_times_of_observation(tmp_path):
    first = np.array([[0.21, NAN], [0.33, 0.1]])
    flag = np.array([[0, 1], [2, 64]])
    files.esa_cci(tmp_path, "20200102", first + 0.01)
    noon = 18262.75  # 2020-01-01T18:00
    files.esa_cci(tmp_path, "20200101", first, flag=flag, t0=noon)
    product = open_product(tmp_path)
    check_shared(product, "esa-cci")
    assert list(product["time"].values.astype("datetime64[h]").astype(str)) == [
        "2020-01-01T12",
        "2020-01-02T12",
    ]
    np.testing.assert_allclose(values_of(product)[0], first.astype(np.float32))
    np.testing.assert_allclose(values_of(product)[1], (first + 0.01).astype(np.float32))
    np.testing.assert_array_equal(product["quality_flag"].values[0], flag)
    # Dense vegetation and frost are advised against, barren ground is not; nothing is known
    # of a cell without a flag.
    np.testing.assert_array_equal(values_of(product, "recommended")[0], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(values_of(product, "recommended")[1], [[1, 0], [1, 1]])
    observed = values_of(product, "observation_time")[0]
    assert observed[0, 0] == np.datetime64("2020-01-01T18:00", "ns")
    assert np.isnat(observed[0, 1])
    spread = values_of(product, "soil_moisture_uncertainty")[0]
    np.testing.assert_allclose(spread, np.where(np.isnan(first), NAN, 0.05), rtol=1e-6)
    np.testing.assert_allclose(product["y"], [51.125, 50.875])
    assert product.attrs["depth_bottom"] == 0.05


def test_percent_of_saturation_needs_a_porosity(tmp_path):
    file = files.esa_cci(tmp_path, "20200101", [[50.0, NAN], [100.0, 0.0]], kind="ACTIVE")
    with pytest.raises(RequestError, match=r"percent of saturation.*give porosity=0\.45"):
        open_product(file)
    product = open_product(file, porosity=0.4)
    np.testing.assert_allclose(values_of(product)[0], [[0.2, NAN], [0.4, 0.0]])
    np.testing.assert_allclose(values_of(product, "soil_moisture_uncertainty")[0, 0, 0], 0.02)
    assert product.attrs["porosity"] == 0.4
    for wrong in (45, 0, -1, 1.0):
        with pytest.raises(RequestError, match="between 0 and 1"):
            open_product(file, porosity=wrong)


def test_a_map_of_porosity_must_be_on_the_grid(tmp_path):
    file = files.esa_cci(tmp_path, "20200101", [[50.0, 10.0], [100.0, 0.0]], kind="ACTIVE")
    grid = {"y": [51.125, 50.875], "x": [2.875, 3.125]}
    porosity = xr.DataArray([[0.4, 0.5], [0.6, 0.3]], grid, ("y", "x"))
    product = open_product(file, porosity=porosity.transpose("x", "y"))
    np.testing.assert_allclose(values_of(product)[0], [[0.2, 0.05], [0.6, 0.0]])
    with pytest.raises(RequestError, match="not on the product's grid"):
        open_product(file, porosity=porosity.assign_coords(x=[3.0, 3.25]))


# --- ERA5-Land ----------------------------------------------------------------------------

HOURS = np.array(["2020-06-01T00", "2020-06-01T01"], "datetime64[h]")
ERA5 = np.array([[[0.1, NAN], [0.2, 0.3]], [[0.15, NAN], [0.25, 0.35]]])


@pytest.mark.parametrize("old", [False, True])
def test_era5_land_of_both_data_stores(tmp_path, old):
    file = files.era5_land(tmp_path / "data_stream-oper.nc", ERA5, HOURS, old=old)
    product = open_product(file)  # by its contents: anybody names these files
    check_shared(product, "era5-land")
    np.testing.assert_allclose(values_of(product), ERA5, atol=6e-6)
    np.testing.assert_array_equal(product["time"].values, HOURS.astype("datetime64[ns]"))
    assert (product.attrs["depth_top"], product.attrs["depth_bottom"]) == (0, 0.07)
    assert "recommended" not in product


def test_era5_land_final_and_preliminary_are_one_series(tmp_path):
    both = np.full((2, 2, 2, 2), NAN)
    both[0, 0], both[1, 1] = ERA5[0], ERA5[1]
    file = files.era5_land(tmp_path / "era5_land.nc", both, HOURS, old=True, expver=True)
    np.testing.assert_allclose(values_of(open_product(file)), ERA5, atol=6e-6)


# --- SMAP ---------------------------------------------------------------------------------

# 2020-06-01T05:30 UTC, in seconds from noon of the first day of 2000.
SECONDS = (np.datetime64("2020-06-01T05:30") - np.datetime64("2000-01-01T12:00")) / np.timedelta64(
    1, "s"
)


def test_smap_l3_half_orbits_on_ease_grid(tmp_path):
    cells = {(45, 490): (0.25, 0, SECONDS), (45, 491): (0.30, 1, SECONDS), (0, 0): (0.02, 8, 1.0)}
    files.smap_l3(tmp_path, "20200601", cells)
    product = open_product(tmp_path)
    check_shared(product, "smap-l3")
    assert product["soil_moisture"].shape == (2, 406, 964)
    assert [f"{t:%H}" for t in product["time"].to_index()] == ["06", "18"]
    # The corner of the published grid, and its cells of 36 km.
    assert product.odc.geobox.crs.epsg == 6933
    assert product["x"].values[0] == pytest.approx(-17367530.445 + 36032.22084 / 2, abs=1e-3)
    assert product["y"].values[0] == pytest.approx(7314540.83064 - 36032.22084 / 2, abs=1e-3)
    loaded = product.isel(time=0, y=45, x=slice(489, 493)).load()
    np.testing.assert_allclose(loaded["soil_moisture"], [NAN, 0.25, 0.30, NAN], rtol=1e-6)
    np.testing.assert_array_equal(loaded["recommended"], [0, 1, 0, 0])
    assert loaded["observation_time"].values[1] == np.datetime64("2020-06-01T05:30", "ns")
    assert np.isnat(loaded["observation_time"].values[0])
    # 8 says only that frozen ground could not be told: the retrieval is recommended.
    assert int(product["recommended"][0, 0, 0]) == 1


def test_smap_l3_centres_are_those_of_the_published_grid():
    """EASE2_M36km and EASE2_M09km: NSIDC's own first cells, in degrees."""
    from pathlib import Path

    from pyproj import Transformer

    from gssm.compare.smap import ease2_grid

    to_degrees = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)
    first = {(406, 964): (-179.81328, 83.63197), (1624, 3856): (-179.95332, 84.65642)}
    for shape, place in first.items():
        grid = ease2_grid(shape, Path("x.h5"), LAYOUTS["smap-l3"])
        np.testing.assert_allclose(to_degrees.transform(grid.x[0], grid.y[0]), place, atol=1e-5)
        assert grid.x[0] == pytest.approx(-grid.x[-1])
        assert grid.y[0] == pytest.approx(-grid.y[-1])


def test_smap_l3_of_one_half_orbit_and_a_box(tmp_path):
    cells = {(45, 490): (0.25, 0, SECONDS)}
    files.smap_l3(tmp_path, "20200601", cells, evening=False)
    product = open_product(tmp_path, bbox=(2.8, 50.7, 3.2, 51.1))
    assert product["soil_moisture"].shape[0] == 1
    assert 2 <= product.sizes["x"] <= 4
    assert float(product["soil_moisture"].max()) == pytest.approx(0.25)


@pytest.mark.parametrize("kind", ["gph", "aup"])
def test_smap_l4_has_its_time_in_its_name(tmp_path, kind):
    files.smap_l4(tmp_path, "20200601T103000", {(250, 1959): 0.4}, kind=kind)
    files.smap_l4(tmp_path, "20200601T073000", {(250, 1959): 0.3}, kind=kind)
    product = open_product(tmp_path, bbox=(2.8, 50.7, 3.2, 51.1))
    check_shared(product, "smap-l4")
    assert list(product["time"].dt.strftime("%H:%M").values) == ["07:30", "10:30"]
    assert product.odc.geobox.resolution.x == pytest.approx(9008.055, abs=1e-3)
    whole = open_product(tmp_path).isel(y=250, x=1959)
    np.testing.assert_allclose(whole["soil_moisture"], [0.3, 0.4])


def test_a_smap_grid_of_another_shape_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "EASE_ROWS", 10)
    monkeypatch.setattr(files, "EASE_COLUMNS", 12)
    files.smap_l3(tmp_path, "20200601", {})
    with pytest.raises(ReadError, match="arrays are 10 x 12 where 406 x 964 or 1624 x 3856"):
        open_product(tmp_path)


# --- bytes --------------------------------------------------------------------------------


def test_s2mp_is_five_times_the_percent_of_volume(tmp_path):
    file = files.s2mp(tmp_path / "MV_20190305T175000_Occitanie.tif", [[0, 5, 100], [175, 250, 1]])
    product = open_product(file, "s2mp")
    check_shared(product, "s2mp")
    np.testing.assert_allclose(
        values_of(product)[0], [[NAN, 0.01, 0.2], [0.35, 0.5, 0.002]], rtol=1e-6
    )
    assert product["time"].to_index()[0] == T("2019-03-05T17:50")
    assert product["y"].values[0] == pytest.approx(51.0 - 0.5e-4)
    with pytest.raises(RequestError, match="neither name nor contents"):
        open_product(file)  # any byte may be a map of something else
    day = files.s2mp(tmp_path / "20190306.tif", [[5, 5], [5, 5]])
    assert open_product(day, "s2mp")["time"].to_index()[0] == T("2019-03-06T12:00")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("20190305.tif", {"dtype": "float32"}, "of float32, not one of bytes"),
        ("20190305.tif", {"bands": 2}, "2 band"),
        ("20190305.tif", {"crs": None}, "no CRS"),
        ("map.tif", {}, "no date in its name"),
        ("20191399.tif", {}, "no date in its name"),
    ],
)
def test_what_is_not_s2mp_is_refused(tmp_path, name, options, says):
    file = files.s2mp(tmp_path / name, [[1, 2], [3, 4]], **options)
    with pytest.raises(ReadError, match=says):
        open_product(file, "s2mp")


@pytest.mark.parametrize("unsigned", [True, False])
def test_copernicus_ssm_is_half_percents_with_codes_above(tmp_path, unsigned):
    numbers = [[0, 100, 200], [241, 253, 255]]
    file = files.copernicus_ssm(tmp_path, "20200601", numbers, unsigned=unsigned)
    with pytest.raises(RequestError, match="percent of saturation"):
        open_product(file)
    product = open_product(file, porosity=0.5)
    check_shared(product, "copernicus-ssm")
    np.testing.assert_allclose(values_of(product)[0], [[0, 0.25, 0.5], [NAN] * 3])
    np.testing.assert_allclose(values_of(product, "soil_moisture_uncertainty")[0], 0.025)
    assert product["time"].to_index()[0] == T("2020-06-01T12:00")


def test_another_packing_is_noticed(tmp_path):
    file = files.copernicus_ssm(tmp_path, "20200601", [[0, 100]] * 2, scale=1.0)
    with pytest.raises(ReadError, match=r"scale_factor 1 where copernicus-ssm.*0\.5"):
        open_product(file, porosity=0.5)


# --- SMAP-HydroBlocks ---------------------------------------------------------------------

SIX_HOURS = pd.date_range("2016-01-01", periods=3, freq="6h")


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_smap_hb_gridded(tmp_path, suffix):
    values = np.array([[[0.1, NAN], [0.2, 0.3]]] * 3) * np.array([1, 2, 3])[:, None, None]
    place = tmp_path / f"SMAP-HB_surface-soil-moisture_30m_6h.{suffix}"
    product = open_product(files.smap_hb_gridded(place, values, SIX_HOURS))
    check_shared(product, "smap-hb")
    np.testing.assert_allclose(values_of(product), values, rtol=1e-6)
    np.testing.assert_array_equal(product["time"].values, SIX_HOURS.values)


CATCHMENTS = [[7, 7, -9999], [7, 12, 12]]
HRUS = [[0, 1, -9999], [1, 0, 1]]
SERIES = {7: [[0.1, 0.2], [0.3, 0.4], [NAN, 0.6]], 12: [[0.5, 0.55], [NAN, 0.15], [0.25, 0.35]]}


def by_unit(tmp_path):
    return files.smap_hb_units(tmp_path / "database", CATCHMENTS, HRUS, SERIES, SIX_HOURS)


def test_smap_hb_by_unit_is_expanded_where_it_is_read(tmp_path):
    folder = by_unit(tmp_path)
    with no_compute():
        product = open_product(folder)
    check_shared(product, "smap-hb-hru")
    expected = [
        [[0.1, 0.2, NAN], [0.2, 0.5, 0.55]],
        [[0.3, 0.4, NAN], [0.4, NAN, 0.15]],
        [[NAN, 0.6, NAN], [0.6, 0.25, 0.35]],
    ]
    np.testing.assert_allclose(values_of(product), expected, rtol=1e-6)
    # Nothing of catchment 12 is asked of a box that does not hold it.
    (folder / "SMAPHB_hru_6hr" / "12.nc").unlink()
    west = product.isel(x=slice(0, 1))
    with pytest.raises(ReadError, match=r"12\.nc is missing though the map names it"):
        west.load()  # of one block
    side = 1 / 3600
    first = open_product(folder, bbox=(-91.7, 37 - 0.5 * side, -91.7 + 0.4 * side, 36.99999))
    assert first.sizes["x"] == 2  # and the neighbour that tells the size


def test_smap_hb_by_unit_of_a_period(tmp_path):
    product = open_product(by_unit(tmp_path), datetime="2016-01-01T05:00/2016-01-01T07:00")
    assert list(product["time"].dt.hour.values) == [6]
    assert float(product["soil_moisture"][0, 0, 0]) == pytest.approx(0.3)


# --- maps of gssm -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_a_map_of_gssm_is_returned_as_it_is(tmp_path, suffix):
    from compare.stations import field

    import gssm

    moisture = field(np.full((2, 3, 4), 0.2), ["2020-06-01T06:00", "2020-06-03T06:00"])
    place = tmp_path / f"map.{suffix}"
    if suffix == "zarr":
        gssm.to_zarr(moisture, place)
    else:
        moisture.to_netcdf(place)
    product = open_product(place)
    np.testing.assert_array_equal(product["soil_moisture"], moisture["soil_moisture"])
    cut = open_product(place, "gssm", bbox=(3.01, 50.9, 3.09, 51.0), datetime="2020-06-03")
    assert cut["soil_moisture"].shape == (1, 3, 2)
    with pytest.raises(ReadError, match="no map of gssm"):
        open_product(files.esa_cci(tmp_path, "20200101", [[0.1] * 2] * 2), "gssm")


# --- what they share ----------------------------------------------------------------------


def test_opening_computes_nothing(tmp_path):
    files.esa_cci(tmp_path, "20200101", [[0.1, 0.2], [0.3, 0.4]])
    files.esa_cci(tmp_path, "20200102", [[0.1, 0.2], [0.3, 0.4]])
    with no_compute():
        product = open_product(tmp_path, bbox=(2.9, 50.9, 3.0, 51.0), datetime="2020-01-01")
    assert product.sizes["time"] == 1


def test_a_box_keeps_the_cells_that_it_touches(tmp_path):
    values = np.arange(20.0).reshape(4, 5) / 100
    file = files.esa_cci(tmp_path, "20200101", values)
    product = open_product(file, bbox=(3.4, 50.6, 3.45, 50.7))
    # Row 2 (50.625), column 2 (3.375), and one around them.
    np.testing.assert_allclose(product["y"], [50.875, 50.625, 50.375])
    np.testing.assert_allclose(product["x"], [3.125, 3.375, 3.625])
    with pytest.raises(EmptySearchError, match="no cell in bbox"):
        open_product(file, bbox=(10, 10, 11, 11))
    with pytest.raises(EmptySearchError, match="no date from 2021-01-01 00:00"):
        open_product(file, datetime="2021")


def test_what_cannot_be_opened_is_told_in_a_sentence(tmp_path):
    with pytest.raises(ReadError, match="there is nothing at"):
        open_product(tmp_path / "absent.nc")
    with pytest.raises(ReadError, match="has no file of a product"):
        open_product(tmp_path)
    with pytest.raises(RequestError, match="no product 'smos'"):
        open_product(tmp_path, "smos")
    with pytest.raises(ReadError, match="no file of a product is given"):
        open_product([])
    junk = tmp_path / "SMAP_L3_SM_P_20200601_R19240_001.h5"
    junk.write_bytes(b"no HDF5 at all")
    with pytest.raises(ReadError, match="has no group"):
        open_product(junk)
    text = tmp_path / "era5_land.nc"
    text.write_bytes(b"no NetCDF at all")
    with pytest.raises(ReadError, match="cannot be read"):
        open_product(text)


def test_two_products_in_one_folder_must_be_told_apart(tmp_path):
    files.esa_cci(tmp_path, "20200101", [[0.1, 0.2], [0.3, 0.4]])
    files.era5_land(tmp_path / "era5_land.nc", ERA5, HOURS)
    with pytest.raises(RequestError, match="files of era5-land and esa-cci"):
        open_product(tmp_path)
    assert open_product(tmp_path, "era5-land").sizes["time"] == 2


def test_another_product_under_the_name_is_refused(tmp_path):
    file = files.era5_land(tmp_path / "data.nc", ERA5, HOURS)
    with pytest.raises(ReadError, match=r"not laid out as esa-cci.*no variable sm"):
        open_product(file, "esa-cci")


def test_units_that_are_not_as_published_are_refused(tmp_path):
    from netCDF4 import Dataset

    file = files.esa_cci(tmp_path, "20200101", [[0.1, 0.2], [0.3, 0.4]])
    with Dataset(file, "a") as nc:
        nc["sm"].units = "kg m-2"
    with pytest.raises(ReadError, match="in 'kg m-2', which is not as esa-cci is published"):
        open_product(file)


def test_means_of_months_are_no_days(tmp_path):
    file = files.esa_cci(tmp_path, "20200101", [[0.1, 0.2], [0.3, 0.4]])
    month = file.with_name("C3S-SOILMOISTURE-L3S-SSMV-COMBINED-MONTHLY-20200101000000-v2.nc")
    file.rename(month)
    with pytest.raises(ReadError, match="means of more than a day"):
        open_product(month)


def test_files_of_two_grids_are_refused(tmp_path):
    files.esa_cci(tmp_path, "20200101", [[0.1, 0.2], [0.3, 0.4]])
    files.esa_cci(tmp_path, "20200102", [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]])
    with pytest.raises(ReadError, match="not on one grid"):
        open_product(tmp_path)


def test_every_layout_says_where_it_is_published():
    for layout in LAYOUTS.values():
        assert "http" in layout.source
        assert layout.depth[0] < layout.depth[1]
