import io
import os
import socket
import threading
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from rasterio.io import MemoryFile

import gssm
from gssm.archive.groups import PIXEL_VARIABLES
from gssm.errors import EmptySearchError, StoreWriteError
from gssm.web import downloads
from gssm.web.app import create_app
from gssm.web.datasets import open_dataset
from gssm.web.lanes import GivenUpError, Watch
from gssm.web.problems import TooMuchError
from gssm.web.routing import PREFIX
from gssm.web.settings import Limits
from web_apps import asking, serving, settings_of
from web_archives import SQUARE, border_archive, lonlat, small_archive

DOWNLOAD = f"{PREFIX}/datasets/demo/download"
LON, LAT = map(float, lonlat(SQUARE, 4100, 4190))
BOX = (LON, LAT - 0.002, LON + 0.004, LAT)
ASKED = ",".join(map(str, BOX))
MORNING = "20240101T060000Z"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web_downloads")
    small_archive(folder / "demo")
    border_archive(folder / "border")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    archives = {name: folder / name for name in ("demo", "border")}
    with asking(settings_of(folder, archives)) as client:
        yield client


@pytest.fixture(scope="module")
def opened(folder):
    return gssm.open_archive(str(folder / "demo"), BOX, "2024").load()


@pytest.fixture(autouse=True)
def _nothing_is_left(folder):
    yield
    left = list((folder / "data" / "downloads").glob("*"))
    assert not left, left


def get(client, **parameters):
    asked = {"bbox": ASKED, "datetime": "2024", **parameters}
    answer = client.get(DOWNLOAD, params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer


def check(found, expected, names=PIXEL_VARIABLES):
    """Compare a dataset that was read back with the open archive."""
    assert found["time"].values.tolist() == expected["time"].values.tolist()
    for axis in ("y", "x"):
        np.testing.assert_allclose(found[axis], expected[axis])
    for name in names:
        np.testing.assert_allclose(
            found[name].values, expected[name].values, atol=1e-6, err_msg=name
        )


def is_attributed(attrs):
    assert "zenodo" in attrs["citation"]
    assert "Apache-2.0" in attrs["license"]
    assert "Copernicus" in attrs["acknowledgement"]
    assert attrs["archive"] == "demo"


def test_netcdf_is_the_open_archive(client, opened, tmp_path):
    answer = get(client, format="netcdf")
    assert answer.headers["content-type"] == "application/netcdf"
    name = "gssm_demo_20240101T060000Z_20240104T060000Z.nc"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    (tmp_path / name).write_bytes(answer.content)
    with xr.open_dataset(tmp_path / name) as found:
        check(found, opened)
        is_attributed(found.attrs)
        assert found.attrs["Conventions"].startswith("CF-")


def test_zarr_is_the_open_archive(client, opened, tmp_path):
    answer = get(client, format="zarr")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].endswith('.zarr.zip"')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        packed.extractall(tmp_path / "map.zarr")
    with xr.open_zarr(tmp_path / "map.zarr", consolidated=False) as found:
        check(found, opened)
        is_attributed(found.attrs)


def test_csv_is_the_open_archive(client, opened):
    table = pd.read_csv(io.StringIO(get(client, format="csv").text), parse_dates=["time"])
    assert len(table) == opened["soil_moisture"].size
    values = table["soil_moisture"].to_numpy().reshape(opened["soil_moisture"].shape)
    np.testing.assert_allclose(values, opened["soil_moisture"].values, atol=1e-4)
    assert {"longitude", "latitude", "quality_flag_meanings"} <= set(table)


def test_a_cog_of_one_date_and_variable_is_one_file(client, opened):
    answer = get(client, format="cog", datetime=MORNING, variable="soil_moisture")
    assert answer.headers["content-type"].startswith("image/tiff")
    assert (
        'filename="gssm_demo_20240101T060000Z_soil_moisture.tif"'
        in (answer.headers["content-disposition"])
    )
    with MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.crs.to_epsg() == 32631
        stored = file.read(1)
        assert file.nodata == 65535
        values = np.where(stored == file.nodata, np.nan, stored * file.scales[0])
        is_attributed(file.tags())
    expected = opened["soil_moisture"].sel(time="2024-01-01T06:00:00").values
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_cogs_of_several_dates_and_variables_are_a_zip(client, opened):
    answer = get(client, format="cog", variable="soil_moisture,quality_flag")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        names = sorted(name for name in packed.namelist() if name.endswith(".tif"))
        assert len(names) == 2 * opened.sizes["time"]
        with MemoryFile(packed.read(names[0])) as memory, memory.open() as file:
            np.testing.assert_array_equal(
                np.where(file.read(1) == 65535, 1 << 15, file.read(1)),
                opened["quality_flag"].values[0],
            )


def test_a_day_has_its_passes(client, opened, tmp_path):
    answer = get(client, format="netcdf", datetime="2024-01-01", variable="soil_moisture")
    (tmp_path / "day.nc").write_bytes(answer.content)
    with xr.open_dataset(tmp_path / "day.nc") as found:
        check(found, opened.isel(time=slice(0, 2)), ["soil_moisture"])
        assert set(found.data_vars) & set(PIXEL_VARIABLES) == {"soil_moisture"}


def test_a_date_is_named_as_on_the_map(client):
    for date, times in (("latest", 1), ("2024-01-01", 2), (MORNING, 1)):
        asked = {"bbox": ASKED, "date": date, "format": "csv", "variable": "soil_moisture"}
        table = pd.read_csv(io.StringIO(client.get(DOWNLOAD, params=asked).text))
        assert table["time"].nunique() == times, date
    for wrong in ({}, {"date": "latest", "datetime": "2024"}):
        answer = client.get(DOWNLOAD, params={"bbox": ASKED, "format": "csv", **wrong})
        assert "either datetime, a period, or date" in answer.json()["detail"]
    unknown = client.get(DOWNLOAD, params={"bbox": ASKED, "format": "csv", "date": "2020-01-01"})
    assert unknown.status_code == 404


def test_a_box_over_two_zones_is_in_the_zone_of_one(client, folder, tmp_path):
    box = (5.99, 50.998, 6.01, 51.002)
    parameters = {
        "bbox": ",".join(map(str, box)),
        "datetime": "2024",
        "format": "netcdf",
        "variable": "soil_moisture",
    }
    answer = client.get(f"{PREFIX}/datasets/border/download", params=parameters)
    assert answer.status_code == 200, answer.text
    (tmp_path / "two.nc").write_bytes(answer.content)
    with xr.open_dataset(tmp_path / "two.nc") as found:
        epsg = rasterio.CRS.from_wkt(found["spatial_ref"].attrs["crs_wkt"]).to_epsg()
        assert epsg in (32631, 32632)
        expected = gssm.open_archive(
            str(folder / "border"), box, variables=["soil_moisture"], crs=f"EPSG:{epsg}"
        )
        check(found, expected, ["soil_moisture"])


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"format": "cog", "variable": "s3"}, 422, "variable 's3' is none"),
        ({"format": "netcdf", "datetime": "2021"}, 404, "archive demo has no date there"),
        (
            {"format": "netcdf", "datetime": "20240102T060000Z"},
            404,
            "archive demo has no date there",
        ),
        ({"format": "netcdf", "bbox": "10,50,10.01,50.01"}, 404, "archive demo holds nothing of"),
        ({"format": "netcdf", "bbox": "3,50,4,51"}, 422, "at most 2,500 km2 are served"),
        ({"format": "netcdf", "datetime": "2022/2024"}, 422, "at most 366 are served"),
        ({"format": "xml"}, 422, "Input should be 'cog', 'netcdf', 'zarr' or 'csv'"),
    ],
)
def test_downloads_that_cannot_be(client, parameters, status, says):
    answer = client.get(DOWNLOAD, params={"bbox": ASKED, "datetime": "2024", **parameters})
    assert answer.status_code == status, answer.headers
    assert says in answer.json()["detail"]


def test_a_table_has_a_million_rows_at_most(client):
    box = f"{LON - 0.06},{LAT - 0.04},{LON + 0.06},{LAT + 0.04}"
    answer = client.get(DOWNLOAD, params={"bbox": box, "datetime": "2024", "format": "csv"})
    assert answer.status_code == 422
    assert "more than 1,000,000; ask for a smaller box, fewer dates, or NetCDF" in answer.text


def test_pixels_of_a_download_are_limited(folder):
    dataset = open_dataset("demo", str(folder / "demo"))
    limits = Limits(download_pixels=1000)
    wanted = downloads.download_of(BOX, "2024", limits)
    with pytest.raises(TooMuchError, match="more than 1,000"):
        downloads.make(Watch(), dataset, wanted, limits, folder / "data")


def test_a_pass_that_does_not_show_the_box_is_none(folder):
    dataset = open_dataset("demo", str(folder / "demo"))
    lon, lat = map(float, lonlat(SQUARE, 4100, 4300))
    box = (lon, lat, lon + 0.001, lat + 0.001)
    wanted = downloads.download_of(box, "20240101T180000Z", Limits())
    with pytest.raises(EmptySearchError, match="none shows the box"):
        downloads.make(Watch(), dataset, wanted, Limits(), folder / "data")


def test_a_download_ends_when_nobody_waits(folder):
    dataset = open_dataset("demo", str(folder / "demo"))
    for format in downloads.FORMATS:
        wanted = downloads.download_of(BOX, "2024", Limits(), format=format)
        watch = Watch()
        watch.end()
        with pytest.raises(GivenUpError):
            downloads.make(watch, dataset, wanted, Limits(), folder / "data")


def test_who_hangs_up_ends_the_work(folder, monkeypatch):
    began, ended = threading.Event(), threading.Event()

    def slow(watch, *_):
        began.set()
        try:
            while True:
                watch.check()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(downloads, "make", slow)
    app = create_app(settings_of(folder / "hung", {"demo": folder / "demo"}))
    with serving(app) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            target = f"{DOWNLOAD}?bbox={ASKED}&datetime=2024&format=csv"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert began.wait(10)
        assert ended.wait(10)


def test_a_download_that_takes_too_long_is_given_up(folder, monkeypatch):
    ended = threading.Event()

    def slow(watch, *_):
        try:
            while True:
                watch.check()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(downloads, "make", slow)
    limits = Limits(download_seconds=0.2)
    with asking(settings_of(folder / "late", {"demo": folder / "demo"}, limits=limits)) as client:
        answer = client.get(DOWNLOAD, params={"bbox": ASKED, "datetime": "2024", "format": "csv"})
        assert answer.status_code == 504
        assert "took longer than 0.2 s" in answer.json()["detail"]
        assert answer.headers["retry-after"]
        assert ended.wait(10)


def test_one_client_has_two_downloads_at_once_and_places_come_back(folder, monkeypatch):
    go_on, made = threading.Event(), downloads.make

    def held(*arguments):
        assert go_on.wait(20)
        return made(*arguments)

    monkeypatch.setattr(downloads, "make", held)
    settings = settings_of(folder / "two", {"demo": folder / "demo"})
    with asking(settings) as client:
        parameters = {"bbox": ASKED, "datetime": MORNING, "format": "netcdf"}
        statuses = []
        threads = [
            threading.Thread(
                target=lambda: statuses.append(client.get(DOWNLOAD, params=parameters).status_code)
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        lane = client.app.state.context.lanes.downloads
        until = time.monotonic() + 10
        while lane._taken < 2 and time.monotonic() < until:
            time.sleep(0.01)
        third = client.get(DOWNLOAD, params=parameters)
        assert third.status_code == 429
        assert "2 downloads of this address are under way" in third.json()["detail"]
        go_on.set()
        for thread in threads:
            thread.join()
        assert statuses == [200, 200]
        assert client.get(DOWNLOAD, params=parameters).status_code == 200
        assert lane._taken == 0
        assert not lane._clients
    assert not list((settings.data / "downloads").iterdir())


def test_a_range_is_not_served_as_the_file_is_made_anew(client):
    answer = client.get(
        DOWNLOAD,
        params={"bbox": ASKED, "datetime": MORNING, "format": "netcdf"},
        headers={"Range": "bytes=0-10"},
    )
    assert answer.status_code == 200
    assert "accept-ranges" not in answer.headers
    assert len(answer.content) > 1000


@pytest.mark.parametrize(
    ("format", "variable", "suffix", "kind"),
    [
        ("cog", "soil_moisture", "_soil_moisture.tif", "image/tiff"),
        ("cog", None, ".zip", "application/zip"),
        ("zarr", None, ".zarr.zip", "application/zip"),
        ("csv", None, ".csv", "text/csv"),
    ],
)
def test_who_asks_for_headers_alone_lets_nothing_be_written(
    client, monkeypatch, format, variable, suffix, kind
):
    asked = {"bbox": ASKED, "datetime": MORNING, "format": format, "variable": variable}
    asked = {name: value for name, value in asked.items() if value is not None}
    whole = client.get(DOWNLOAD, params=asked)
    monkeypatch.delattr(downloads, "make")
    head = client.head(DOWNLOAD, params=asked)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-disposition"].endswith(f'{suffix}"')
    assert head.headers["content-type"].startswith(kind)
    for name in ("content-disposition", "content-type", "cache-control"):
        assert head.headers[name] == whole.headers[name], name
    assert "content-length" not in head.headers
    assert client.head(DOWNLOAD, params=asked | {"datetime": "1999"}).status_code == 404
    assert client.head(DOWNLOAD, params=asked | {"bbox": "3,50,7,54"}).status_code == 422


def test_a_full_disk_is_told_without_a_path(folder, monkeypatch):
    def full(*_, **__):
        raise StoreWriteError(
            f"{folder}/full/data/downloads/x cannot be written: disk full; free it."
        )

    monkeypatch.setattr(downloads, "export", full)
    with asking(settings_of(folder / "full", {"demo": folder / "demo"})) as client:
        answer = client.get(DOWNLOAD, params={"bbox": ASKED, "datetime": "2024", "format": "zarr"})
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("the server's folder cannot be written")
    assert str(folder) not in answer.text


def test_what_a_killed_server_left_is_deleted(tmp_path):
    limits = Limits(download_seconds=10)
    for name, age in (("old", 50), ("new", 5)):
        (tmp_path / "downloads" / name).mkdir(parents=True)
        then = time.time() - age
        os.utime(tmp_path / "downloads" / name, (then, then))
    downloads.clear(tmp_path, limits)
    assert [p.name for p in (tmp_path / "downloads").iterdir()] == ["new"]
    downloads.clear(tmp_path / "nothing", limits)


def test_the_address_of_an_archive_is_in_no_file(client, folder):
    for format in downloads.FORMATS:
        content = get(client, format=format, datetime=MORNING).content
        parts = [content]
        if format in ("cog", "zarr"):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                parts = [packed.read(name) for name in packed.namelist()]
                assert not any(name.startswith(("/", "..")) for name in packed.namelist())
        for part in parts:
            assert str(folder).encode() not in part
