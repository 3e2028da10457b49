import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from archive.products import PLACES, STATED, assert_same, make_product
from odc.geo.geobox import GeoBox

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.export import export
from gssm.archive.ledger import Row
from gssm.archive.packing import PACKINGS
from gssm.archive.reading import open_archive
from gssm.archive.repository import create_archive
from gssm.archive.tiles import parse
from gssm.errors import (
    CubeError,
    GssmWarning,
    ReadError,
    RequestError,
    StoreExistsError,
    StoreWriteError,
)
from helpers import no_compute


@pytest.fixture(scope="module")
def dataset():
    return make_product()


def test_zarr_is_what_to_zarr_writes(dataset, tmp_path):
    export(dataset, tmp_path / "map.zarr")
    back = xr.open_zarr(tmp_path / "map.zarr", consolidated=False)
    np.testing.assert_array_equal(back["soil_moisture"], dataset["soil_moisture"])
    assert back.attrs["Conventions"] == "CF-1.11, ACDD-1.3"
    assert all(back.attrs[name] for name in STATED)
    assert dict(back.sizes) == dict(dataset.sizes)
    assert back["depth"].attrs["standard_name"] == "depth"
    assert "bounds" not in back["depth"].attrs


@pytest.mark.parametrize("format", PLACES)
def test_what_is_there_is_refused_and_replaced_when_asked(dataset, format, tmp_path):
    small = dataset.isel(y=slice(0, 4), x=slice(0, 5))
    place = tmp_path / PLACES[format]
    export(small, place, format=format)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.*"))
    with no_compute(), pytest.raises(StoreExistsError, match="overwrite=True"):
        export(small, place, format=format)
    export(small, place, format=format, overwrite=True)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.*")) == before


@pytest.mark.parametrize("format", PLACES)
def test_a_folder_of_somebody_else_is_never_replaced(dataset, format, tmp_path):
    place = tmp_path / PLACES[format]
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    with no_compute(), pytest.raises(StoreExistsError):
        export(dataset, place, format=format, overwrite=True)
    assert (place / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("format", PLACES)
def test_a_failure_leaves_nothing_behind(dataset, format, tmp_path):
    def fail(block):
        raise OSError(errno.ENOSPC, "No space left on device")

    small = dataset.isel(y=slice(0, 4), x=slice(0, 5))
    broken = small.assign(soil_moisture=small["soil_moisture"].copy(data=fails(small, fail)))
    with pytest.raises(StoreWriteError, match="No space left on device"):
        export(broken, tmp_path / "new" / PLACES[format], format=format)
    assert not list(tmp_path.iterdir())


def fails(dataset, function):
    lazy = dataset["soil_moisture"].data
    return da.map_blocks(function, lazy, dtype=lazy.dtype, meta=np.empty((0, 0, 0), np.float32))


@pytest.mark.parametrize("format", PLACES)
def test_a_failure_leaves_the_old_file_where_it_is(dataset, format, tmp_path):
    small = dataset.isel(y=slice(0, 4), x=slice(0, 5))
    place = tmp_path / PLACES[format]
    files = [p for p in export(small, place, format=format) if p.is_file()]
    before = [p.read_bytes() for p in files]
    wrong = small.assign(soil_moisture=small["soil_moisture"] * np.nan)
    wrong["quality_flag"] = wrong["quality_flag"] * np.uint16(0) + np.uint16(2048)
    with pytest.raises(ReadError, match="read_failed"):
        export(wrong, place, format=format, overwrite=True)
    assert [p.read_bytes() for p in files] == before
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in tmp_path.glob("map*")}


@pytest.mark.parametrize("format", ["cog", "netcdf"])
def test_a_value_that_no_packing_holds_is_refused(dataset, format, tmp_path):
    wrong = dataset.assign(soil_moisture=dataset["soil_moisture"] * 100)
    with pytest.raises(CubeError, match=r"soil_moisture holds"):
        export(wrong, tmp_path / PLACES[format], format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["cog", "netcdf", "csv"])
def test_nobody_else_is_written_to(dataset, format):
    with pytest.raises(RequestError, match="no path on this machine"):
        export(dataset, "s3://bucket/maps.nc", format=format)


@pytest.mark.parametrize(
    ("path", "format", "says"),
    [
        ("map.xyz", None, "has no suffix of a format"),
        ("map", None, "'cog'"),
        ("map.nc", "geojson", "format 'geojson' is unknown"),
        (7, None, "no place to write to"),
    ],
)
def test_an_unknown_format_is_refused(dataset, path, format, says):
    with no_compute(), pytest.raises(RequestError, match=says):
        export(dataset, path, format=format)


@pytest.mark.parametrize("stored", ["flag", "fill", "masked"])
def test_pixels_that_were_never_computed_stay_so(stored, tmp_path):
    data = make_product(1).isel(y=slice(0, 2), x=slice(0, 3)).compute()
    data["quality_flag"][0, 0, 0] = 32768 if stored == "flag" else 65535
    data["soil_moisture"][0, 0, 0] = np.nan
    if stored == "masked":  # what xarray makes of a fill value
        data = data.assign(quality_flag=data["quality_flag"].where(data["quality_flag"] < 65535))
    export(data, tmp_path / "map.csv")
    first = pd.read_csv(tmp_path / "map.csv").iloc[0]
    assert (first["quality_flag"], first["quality_flag_meanings"]) == (32768, "not_computed")
    paths = export(data[["quality_flag"]], tmp_path / "maps", format="cog")
    with rasterio.open(paths[0]) as file:
        assert file.read(1, masked=True).mask.tolist()[0] == [True, False, False]
    export(data, tmp_path / "map.nc")
    with xr.open_dataset(tmp_path / "map.nc") as back:
        flags = back["quality_flag"]
        assert flags.values[0, 0, 0] == 32768
        assert (
            dict(zip(flags.attrs["flag_meanings"].split(), flags.attrs["flag_masks"], strict=True))[
                "not_computed"
            ]
            == 32768
        )


@pytest.mark.parametrize("format", PLACES)
def test_an_export_without_one_value_is_written_with_a_warning(dataset, format, tmp_path):
    """All water: complete, with a reason for each pixel, and most likely not what was meant."""
    small = dataset.isel(y=slice(0, 4), x=slice(12, 18))
    with pytest.warns(GssmWarning, match=r"holds not one value of soil_moisture.*quality_flag"):
        written = export(small, tmp_path / PLACES[format], format=format)
    assert all(path.exists() for path in written)
    # The age has values there; flags alone are not missing any.
    export(small[["s2_age"]], tmp_path / "age" / PLACES[format], format=format)
    export(small[["quality_flag"]], tmp_path / "flags" / PLACES[format], format=format)


def test_what_was_never_computed_is_exported_with_a_warning(dataset, tmp_path):
    none = dataset.isel(y=slice(0, 4), x=slice(12, 18)).load()
    none["quality_flag"][:] = 32768
    with pytest.warns(GssmWarning, match=r"map.nc holds not one value"):
        export(none, tmp_path / "map.nc")
    with pytest.warns(GssmWarning, match=r"holds not one value"):
        export(none, tmp_path / "map.zarr")  # "not computed" is a reason, too


def test_a_map_in_degrees(tmp_path):
    grid = GeoBox.from_bbox((3, 50, 3.02, 50.01), 4326, resolution=0.001)
    data = make_product(1, grid)
    data = data.rename(latitude="y", longitude="x") if "latitude" in data.coords else data
    path, *_ = export(data[["soil_moisture"]], tmp_path / "maps", format="cog")
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4326
        assert file.bounds == pytest.approx((3, 50, 3.02, 50.01))
    export(data, tmp_path / "map.nc")
    with xr.open_dataset(tmp_path / "map.nc") as back:
        assert back["x"].attrs["standard_name"] == "longitude"
        assert back["y"].attrs["units"] == "degrees_north"
        assert back.attrs["geospatial_lon_max"] == pytest.approx(3.02)


@pytest.mark.parametrize("format", ["netcdf", "zarr"])
def test_what_was_exported_can_be_exported(dataset, format, tmp_path):
    first, *_ = export(dataset, tmp_path / f"first{Path(PLACES[format]).suffix}")
    options = {"engine": "zarr", "consolidated": False} if format == "zarr" else {}
    with xr.open_dataset(first, chunks={}, decode_coords="all", **options) as back:
        for other in PLACES:
            export(back, tmp_path / PLACES[other], format=other)
    with xr.open_dataset(tmp_path / "map.nc") as again:
        for name in dataset.data_vars:
            assert_same(name, again[name].values, dataset)
        assert again.attrs["history"].count("exported by gssm") == 2


def test_an_archive_is_exported(tmp_path):
    """What `open_archive` gives, with all that was never computed, through every format."""
    chunk, square = 200, parse("31UES")
    archive = create_archive(str(tmp_path / "archive"), chunk=chunk)
    rng = np.random.default_rng(0)
    packed = {
        name: rng.integers(0, 200, (chunk, chunk)).astype(how.dtype)
        for name, how in PACKINGS.items()
    }
    row = Row(1714542432, "sentinel-1a", 37, "descending", coverage=((0, 0),), radar=("S1A_a",))
    write_acquisition(archive, square, row, [((0, 0), packed)])
    found = open_archive(archive.url).isel(y=slice(0, 250), x=slice(0, 250))
    export(found, tmp_path / "map.nc")
    with xr.open_dataset(tmp_path / "map.nc") as back:
        assert back.attrs["archive"] == "archive"
        assert int(np.isfinite(back["soil_moisture"]).sum()) == chunk**2
        np.testing.assert_allclose(
            back["soil_moisture"][0, :chunk, :chunk], packed["soil_moisture"] * 1e-4, atol=1e-7
        )
        assert (back["quality_flag"][0, chunk:] == 32768).all()
    for path in export(found, tmp_path / "maps", format="cog"):
        with rasterio.open(path) as file:
            name = file.tags()["variable"]
            assert np.array_equal(file.read(1)[:chunk, :chunk], packed[name])
            assert (file.read(1)[chunk:] == PACKINGS[name].fill).all()
            assert file.transform == square.grid.affine


@pytest.mark.parametrize("format", PLACES)
def test_times_are_whole_seconds(dataset, format, tmp_path):
    later = dataset.isel(y=[0, 1], x=[0, 1])
    later = later.assign_coords(time=later["time"] + np.timedelta64(123_456, "us"))
    path, *_ = export(later, tmp_path / PLACES[format], format=format)
    if format == "cog":
        assert "20240501T054712Z" in path.name
    elif format == "csv":
        assert pd.read_csv(path)["time"][0] == "2024-05-01T05:47:12Z"
    else:
        options = {"engine": "zarr", "consolidated": False} if format == "zarr" else {}
        with xr.open_dataset(path, **options) as back:
            assert np.array_equal(back["time"], dataset["time"])


def test_chunks_do_not_change_what_is_written(tmp_path):
    data = make_product(3)
    for i, chunks in enumerate(({"time": 3, "y": 7, "x": 100}, {"time": 1, "y": 70, "x": 9})):
        export(data.chunk(chunks), tmp_path / f"{i}.nc")
    export(data.load(), tmp_path / "2.nc")
    first, *others = (xr.load_dataset(tmp_path / f"{i}.nc") for i in range(3))
    for other in others:
        xr.testing.assert_equal(first, other)


MEMORY = """
    import resource, sys
    import dask, dask.array as da, numpy as np, xarray as xr
    from gssm.archive.export import export
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    rows = int(sys.argv[1])
    dask.config.set(scheduler="synchronous")
    grid = GeoBox.from_bbox((5e5, 5e6, 5e5 + 10240, 5e6 + 10 * rows), 32631, resolution=10)
    value = da.full((2, rows, 1024), 0.25, dtype=np.float32, chunks=(1, 256, 1024))
    data = xr.Dataset(
        {"soil_moisture": (("time", "y", "x"), value)},
        coords={**xr_coords(grid), "time": np.array(["2024-05-01", "2024-05-02"], "M8[ns]")},
    )
    export(data, sys.argv[2], format=sys.argv[3])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("format", ["cog", "netcdf"])
def test_memory_does_not_grow_with_the_area(format, tmp_path):
    def peak(rows):
        program = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(MEMORY)]
        place = tmp_path / f"{rows}{Path(PLACES[format]).suffix}"
        done = subprocess.run(
            [*program, str(rows), str(place), format],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
            check=True,
        )
        return float(done.stdout)

    small, large = peak(2048), peak(16_384)
    # 134 MB of values more.
    assert large - small < 60
