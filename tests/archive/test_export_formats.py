import csv
import json
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import netCDF4
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from archive.products import GRID, STATED, assert_same, make_product, step
from odc.geo.geobox import GeoBox

import gssm.archive.export_csv as export_csv
from gssm import quality
from gssm.archive.encoding import depth_coordinates, product_attrs, variable_attrs
from gssm.archive.export import export
from gssm.archive.packing import PACKINGS
from gssm.errors import RequestError
from helpers import no_compute


@pytest.fixture(scope="module")
def dataset():
    return make_product()


# NetCDF


def test_netcdf_comes_back_within_its_packing(dataset, tmp_path):
    assert export(dataset, tmp_path / "map.nc") == [tmp_path / "map.nc"]
    with xr.open_dataset(tmp_path / "map.nc", decode_coords="all") as back:
        for name in dataset.data_vars:
            assert_same(name, back[name].values, dataset)
        assert back["soil_moisture"].dtype == np.float32
        assert back["soil_moisture"].encoding["dtype"] == np.uint16
        assert back["quality_flag"].dtype == np.uint16
        assert np.array_equal(back["quality_flag"], dataset["quality_flag"])
        masks = [*(flag.mask for flag in FLAGS), 32768]
        assert np.array_equal(back["quality_flag"].attrs["flag_masks"], masks)
        assert np.array_equal(back["time"], dataset["time"])
        assert np.array_equal(back["x"], dataset["x"])
        assert list(back["platform"].values) == ["sentinel-1a"] * 2
        assert back.rio.crs.to_epsg() == 32631
        assert back.rio.transform() == GRID.affine
        assert back["depth"].item() == 0.025
        assert back["depth"].encoding["bounds"] == "depth_bnds"
    with xr.open_dataset(tmp_path / "map.nc") as back:
        assert len(back.drop_vars("depth_bnds").to_dataframe()) == dataset["soil_moisture"].size


FLAGS = quality.FLAGS


def test_what_netcdf_says_of_itself(dataset, tmp_path):
    export(dataset, tmp_path / "map.nc")
    with netCDF4.Dataset(tmp_path / "map.nc") as file:
        attrs = {name: file.getncattr(name) for name in file.ncattrs()}
    assert attrs["source_items"] == "S1A_a, S2B_b, LC08_c"
    assert attrs["model"] == "default"
    assert attrs["Conventions"] == "CF-1.11, ACDD-1.3"
    assert attrs["time_coverage_start"] == "2024-05-01T05:47:12Z"
    assert attrs["time_coverage_duration"] == "PT1036800S"
    assert 2.9985 < attrs["geospatial_lon_min"] < attrs["geospatial_lon_max"] < 3.013
    assert all(attrs[name] for name in STATED)


@pytest.mark.skipif(find_spec("compliance_checker") is None, reason="no compliance-checker")
@pytest.mark.parametrize("source", ["export", "archive"])
def test_no_finding_of_high_priority_by_the_compliance_checker(dataset, source, tmp_path):
    """CF 1.11 and ACDD 1.3, by IOOS, with the table of names that it brings along."""
    path, report = tmp_path / "map.nc", tmp_path / "report.json"
    if source == "export":
        export(dataset, path)
    else:
        like_the_archive(dataset).to_netcdf(path)
    # In a process of its own, whose warnings are not ours.
    program = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(CHECK), path, report]
    subprocess.run(program, capture_output=True, check=True)
    found = json.loads(report.read_text())
    serious = {
        test: {f["name"]: f["msgs"] for f in found[test]["high_priorities"] if f["msgs"]}
        for test in ("cf:1.11", "acdd:1.3")
    }
    assert found["cf:1.11"]["scored_points"] > 100
    assert serious["cf:1.11"] == {}
    # CF has no standard name for the width of a prediction interval, nor for an age.
    for name in (n for n in UNNAMED if n in dataset):
        missing = serious["acdd:1.3"].pop(f'variable "{name}" missing the following attributes:')
        assert missing == ["standard_name"]
    assert serious["acdd:1.3"] == {}


CHECK = """
    import sys
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    path, report = sys.argv[1:]
    tests = ["cf:1.11", "acdd:1.3"]
    CheckSuite.load_all_available_checkers()
    ComplianceChecker.run_checker(
        path, tests, 0, "normal", output_filename=report, output_format="json"
    )
"""
UNNAMED = ("soil_moisture_uncertainty", "s2_age", "landsat_age")


def like_the_archive(dataset):
    """What an archive's arrays and attributes are when they are opened and dumped."""
    result = dataset.compute().assign_attrs(product_attrs() | {"source_items": "a, b"})
    result = result.assign_coords(
        {name: xr.Variable(*found) for name, found in depth_coordinates().items()}
    )
    for name in result.variables:
        extra = variable_attrs(str(name))
        keep = {k: v for k, v in result[name].attrs.items() if k != "valid_range"}
        result[name].attrs = keep | extra
        if name == "quality_flag":
            result[name].attrs["flag_masks"] = np.array(extra["flag_masks"], np.uint16)
        if name in PACKINGS and PACKINGS[name].scale is not None:
            how = PACKINGS[name]
            scaling = {"scale_factor": np.float32(how.scale), "add_offset": np.float32(0)}
            result[name].encoding = {"dtype": how.dtype, "_FillValue": how.fill, **scaling}
        elif result[name].dtype.kind == "f":
            result[name].encoding = {"_FillValue": None}
    result["time"].encoding = {"units": "seconds since 1970-01-01T00:00:00", "dtype": "int64"}
    result["time"].encoding["calendar"] = "proleptic_gregorian"
    del result["soil_moisture"].attrs["ancillary_variables"]
    return result.transpose("time", "y", "x", ...)


# COG


def test_cogs_of_every_date_and_variable(dataset, tmp_path):
    files = export(dataset, tmp_path / "maps", format="cog")
    assert len(files) == 2 * len(dataset.data_vars)
    assert files[0].name == "maps_20240501T054712Z_soil_moisture.tif"
    for path in files:
        with rasterio.open(path) as file:
            tags, name = file.tags(), file.tags()["variable"]
            assert file.crs.to_epsg() == 32631
            assert file.transform == GRID.affine
            assert file.nodata == PACKINGS[name].fill
            assert file.units == (dataset[name].attrs["units"],)
            assert file.scales == (PACKINGS[name].scale or 1,)
            assert all(tags[stated] for stated in STATED)
            assert tags["orbit_state"] == "descending"
            values = file.read(1, masked=True) * file.scales[0]
        date = dataset.sel(time=tags["time"].rstrip("Z"))
        expected = np.ma.masked_invalid(date[name].values)
        assert np.array_equal(np.ma.getmaskarray(values), np.ma.getmaskarray(expected))
        assert np.abs(values - expected).max() <= step(name)
    assert {p.name for p in (tmp_path / "maps").iterdir()} == {
        *(p.name for p in files),
        "gssm-export.json",
    }


def test_cogs_are_valid_and_their_overviews_do_not_mix_flags(tmp_path):
    cog_validate = pytest.importorskip("rio_cogeo").cog_validate
    grid = GeoBox.from_bbox((500_000, 5_600_000, 507_000, 5_612_000), 32631, resolution=10)
    large = make_product(1, grid, ages=False)
    for path in export(large, tmp_path / "maps", format="cog"):
        assert cog_validate(path, strict=True) == (True, [], [])
        with rasterio.open(path) as file:
            assert file.overviews(1) == [2, 4]
            assert file.block_shapes == [(512, 512)]
            name = file.tags()["variable"]
            small = file.read(1, out_shape=(300, 175), masked=True)
        if name == "quality_flag":
            # A mean of 8 and 40 would be a number that no pixel has.
            assert set(np.unique(small)) <= {0, 8, 40}
            assert tags_of(path)["overviews"].startswith("mode")
        if name == "soil_moisture":
            blocks = large[name].values[0].reshape(300, 4, 175, 4)[:, :, 8:]
            with np.errstate(invalid="ignore"):
                mean = np.nanmean(blocks, axis=(1, 3))
            # Overviews are made of overviews, each rounded.
            assert np.abs(small[:, 8:] * 1e-4 - mean).max() < 3e-4


def tags_of(path):
    with rasterio.open(path) as file:
        return file.tags()


def test_one_cog_under_the_name_that_was_given(dataset, tmp_path):
    one = dataset[["soil_moisture"]].isel(time=0)
    assert export(one, tmp_path / "map.tif") == [tmp_path / "map.tif"]
    assert tags_of(tmp_path / "map.tif")["time"] == "2024-05-01T05:47:12Z"
    advice = r"2 dates of 4 variables .* give a folder .*--variables soil_moisture"
    with pytest.raises(RequestError, match=advice):
        export(dataset, tmp_path / "more.tif")


def test_the_prediction_of_a_member_is_packed_and_a_variable_of_a_user_is_not(tmp_path):
    data = make_product(1)[["soil_moisture"]]
    data["soil_moisture_tabnet"] = data["soil_moisture"]
    data["mine"] = data["soil_moisture"] * 1e6
    found = {tags_of(p)["variable"]: p for p in export(data, tmp_path / "maps", format="cog")}
    with rasterio.open(found["soil_moisture_tabnet"]) as file:
        assert file.dtypes == ("uint16",)
    with rasterio.open(found["mine"]) as file:
        assert file.dtypes == ("float32",)
        np.testing.assert_array_equal(file.read(1), data["mine"].values[0])
    export(data, tmp_path / "map.nc")
    with xr.open_dataset(tmp_path / "map.nc") as back:
        np.testing.assert_array_equal(back["mine"], data["mine"])


# CSV


def test_csv_is_a_row_for_each_date_and_pixel(dataset, tmp_path):
    files = export(dataset, tmp_path / "map.csv")
    assert [p.name for p in files] == ["map.csv", "map.csv-metadata.json"]
    table = pd.read_csv(files[0])
    assert len(table) == dataset["soil_moisture"].size
    order = (2, *GRID.shape)
    assert_same("soil_moisture", table["soil_moisture"].to_numpy().reshape(order), dataset)
    flags = table["quality_flag"].to_numpy().reshape(order)
    assert np.array_equal(flags, dataset["quality_flag"])
    wet = table[table["quality_flag"] == 40].iloc[0]
    assert wet["quality_flag_meanings"] == "cloud_or_shadow|water"
    assert np.isnan(wet["soil_moisture"])
    first = table.iloc[0]
    assert first["time"] == "2024-05-01T05:47:12Z"
    assert (first["x"], first["y"]) == (499_905, 5_600_695)
    assert (first["longitude"], first["latitude"]) == pytest.approx((2.99866, 50.55818), abs=1e-5)
    described = json.loads(files[1].read_text())
    assert described["url"] == "map.csv"
    columns = [column["name"] for column in described["tableSchema"]["columns"]]
    with open(files[0], newline="") as file:
        assert next(csv.reader(file)) == columns
    assert all(described[f"gssm:{name}"] for name in STATED)


def test_a_table_that_no_spreadsheet_holds_is_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(export_csv, "MOST_ROWS", 100)
    with no_compute(), pytest.raises(RequestError, match=r"14000 rows .* write NetCDF"):
        export(dataset, tmp_path / "map.csv")
    assert not list(tmp_path.iterdir())
