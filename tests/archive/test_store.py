import errno
import os
import resource
import subprocess
import sys
import textwrap

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

from cubes import make_cube
from gssm import quality
from gssm.archive.places import store_of
from gssm.archive.store import to_zarr
from gssm.errors import CubeError, ReadError, RequestError, StoreExistsError, StoreWriteError
from gssm.quality import FLAGS


def product(values=0.25, flags=0):
    cube = make_cube()
    attrs = {"units": "m3 m-3"}
    soil_moisture = xr.full_like(cube.vv, values).assign_attrs(attrs)
    flag = xr.full_like(cube.vv, flags, dtype=np.uint16).assign_attrs(quality.ATTRS)
    return xr.Dataset(
        {"soil_moisture": soil_moisture, "quality_flag": flag}, attrs={"source_items": ["a", "b"]}
    ).chunk({"time": 1, "y": 10})


def test_what_is_written_comes_back_with_its_attributes(tmp_path):
    store = tmp_path / "sm.zarr"
    to_zarr(product(), store)
    back = xr.open_zarr(store, consolidated=False)
    xr.testing.assert_equal(back.load(), product().load())
    assert back.soil_moisture.dtype == np.float32
    assert back.quality_flag.dtype == np.uint16
    assert back.quality_flag.attrs["flag_masks"] == [flag.mask for flag in FLAGS]
    assert back.attrs["Conventions"] == "CF-1.11"
    assert back.attrs["source_items"] == ["a", "b"]
    assert "gssm 0" in back.attrs["software_versions"]
    assert zarr.open_group(store, mode="r").metadata.zarr_format == 3
    raw = zarr.open_group(store, mode="r")["time"]
    assert raw.dtype == np.int64
    assert raw.attrs["units"].startswith("seconds since 1970-01-01")
    assert os.listdir(tmp_path) == ["sm.zarr"]


@pytest.mark.parametrize("make", [str, lambda p: p, lambda p: zarr.storage.LocalStore(p)])
def test_paths_and_stores_alike(tmp_path, make):
    to_zarr(product(), make(tmp_path / "sm.zarr"))
    assert xr.open_zarr(tmp_path / "sm.zarr", consolidated=False).sizes["time"] == 2


def test_chunks_that_begin_with_a_part_are_written(tmp_path):
    part = product().isel(y=slice(3, None))
    assert part.chunks["y"][0] < part.chunks["y"][1]
    to_zarr(part, tmp_path / "sm.zarr")
    back = xr.open_zarr(tmp_path / "sm.zarr", consolidated=False)
    xr.testing.assert_equal(back.load(), part.load())


def test_times_of_fractions_of_a_second_are_kept(tmp_path):
    part = product()
    part = part.assign_coords(time=part["time"].values + np.timedelta64(123, "ms"))
    to_zarr(part, tmp_path / "sm.zarr")
    back = xr.open_zarr(tmp_path / "sm.zarr", consolidated=False)
    np.testing.assert_array_equal(back["time"], part["time"])


def test_an_fsspec_url_is_written_and_refused_when_there():
    url = "memory://gssm-test/sm.zarr"
    to_zarr(product(), url)
    assert float(xr.open_zarr(url, consolidated=False).soil_moisture.mean()) == 0.25
    with pytest.raises(StoreExistsError, match="memory://"):
        to_zarr(product(), url)
    to_zarr(product(0.125), url, overwrite=True)
    assert float(xr.open_zarr(url, consolidated=False).soil_moisture.mean()) == 0.125


def test_an_existing_store_is_refused_and_kept(tmp_path):
    store = tmp_path / "sm.zarr"
    to_zarr(product(), store)
    with pytest.raises(StoreExistsError, match="overwrite") as caught:
        to_zarr(product(0.5), store)
    assert isinstance(caught.value, FileExistsError)
    assert float(xr.open_zarr(store, consolidated=False).soil_moisture.mean()) == 0.25
    to_zarr(product(0.5), store, overwrite=True)
    assert float(xr.open_zarr(store, consolidated=False).soil_moisture.mean()) == 0.5
    assert os.listdir(tmp_path) == ["sm.zarr"]


@pytest.mark.parametrize("precious", ["home/thesis.txt", "home"])
def test_overwrite_replaces_a_store_and_nothing_else(tmp_path, precious):
    file = tmp_path / precious
    file.parent.mkdir(exist_ok=True)
    file.write_text("years of work")
    with pytest.raises(StoreExistsError, match="nothing that gssm wrote"):
        to_zarr(product(), tmp_path / "home", overwrite=True)
    assert file.read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    to_zarr(product(), tmp_path / "empty", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["empty", "home"]


def test_a_link_to_a_store_stays_a_link(tmp_path):
    to_zarr(product(), tmp_path / "sm.zarr")
    (tmp_path / "link").symlink_to(tmp_path / "sm.zarr")
    to_zarr(product(0.5), tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "sm.zarr"]


@pytest.mark.parametrize(
    ("store", "error"),
    [
        (None, RequestError),
        (5, RequestError),
        ("unknown://sm.zarr", RequestError),
        (".", StoreExistsError),
        ("/", StoreExistsError),
        ("a" * 300, StoreWriteError),
    ],
)
def test_what_is_no_place_for_a_store(tmp_path, monkeypatch, store, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(error):
        to_zarr(product(), store, overwrite=True)
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(CubeError, match="to_dataset"):
        to_zarr(product().soil_moisture, tmp_path / "sm.zarr")


def test_home_and_file_urls_are_local(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    to_zarr(product(), "~/a.zarr")
    to_zarr(product(), f"file://{tmp_path}/deep/b.zarr")
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "deep"]


def test_a_store_object_that_holds_data_is_refused(tmp_path):
    store = zarr.storage.LocalStore(tmp_path / "sm.zarr")
    to_zarr(product(), store)
    with pytest.raises(StoreExistsError, match="holds data already"):
        to_zarr(product(0.5), store)
    assert float(xr.open_zarr(store, consolidated=False).soil_moisture.mean()) == 0.25
    to_zarr(product(0.5), store, overwrite=True)
    assert float(xr.open_zarr(store, consolidated=False).soil_moisture.mean()) == 0.5


def failing(block):
    raise RuntimeError("a worker died")


@pytest.mark.parametrize("before", [None, 0.25])
def test_a_failure_leaves_things_as_they_were(tmp_path, before):
    store = tmp_path / "sm.zarr"
    if before is not None:
        to_zarr(product(before), store)
    bad = product()
    bad["soil_moisture"] = bad.soil_moisture.copy(
        data=da.map_blocks(failing, bad.soil_moisture.data, dtype="f4", meta=np.empty((0, 0, 0)))
    )
    with pytest.raises(RuntimeError, match="a worker died"):
        to_zarr(bad, store, overwrite=True)
    assert os.listdir(tmp_path) == ([] if before is None else ["sm.zarr"])
    if before is not None:
        assert float(xr.open_zarr(store, consolidated=False).soil_moisture.mean()) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written(tmp_path, monkeypatch, code):
    def refuse(self, *args, **kwargs):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(StoreWriteError, match=r"could not be written .*Nothing was left") as caught:
        to_zarr(product(), tmp_path / "deep" / "sm.zarr")
    assert os.strerror(code) in str(caught.value)


def test_a_full_disk_gives_one_sentence_and_leaves_nothing(tmp_path):
    # A limit on file size stands in for a full disk: the write fails in the same place.
    program = textwrap.dedent(
        """
        import resource, sys
        import numpy as np, xarray as xr
        from gssm.archive.store import to_zarr
        from gssm.errors import StoreWriteError
        noise = np.random.default_rng(0).random((1, 500, 500), dtype=np.float32)
        dataset = xr.Dataset({"noise": (("time", "y", "x"), noise)})
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            to_zarr(dataset, sys.argv[1])
        except StoreWriteError as error:
            sys.exit(str(error))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "sm.zarr")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "could not be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (quality.BY_MEANING["read_failed"].mask, ReadError, "that each of them needs"),
        (0, CubeError, r"radar \(vv, vh\) has no valid pixel"),
    ],
)
def test_a_product_without_any_value_is_an_error(tmp_path, flags, error, message):
    with pytest.raises(error, match=message):
        to_zarr(product(np.nan, flags), tmp_path / "sm.zarr")
    assert os.listdir(tmp_path) == []


def test_more_failed_reads_than_allowed_are_an_error(tmp_path):
    partly = product()
    failed = partly.x > partly.x[len(partly.x) // 4 - 1]  # three quarters
    partly["soil_moisture"] = partly.soil_moisture.where(~failed)
    flag = np.uint16(quality.BY_MEANING["read_failed"].mask)
    partly["quality_flag"] = xr.where(failed, flag, partly.quality_flag).transpose(
        *partly.soil_moisture.dims
    )
    share = float(failed.mean())
    with pytest.raises(ReadError, match=f"{share:.1%} of the pixels .* max_failed=0.5 allows"):
        to_zarr(partly, tmp_path / "sm.zarr", max_failed=0.5)
    assert os.listdir(tmp_path) == []
    to_zarr(partly, tmp_path / "sm.zarr", max_failed=share)
    assert os.listdir(tmp_path) == ["sm.zarr"]
    for wrong in (-0.1, 1.1, np.nan, "half"):
        with pytest.raises(RequestError, match="no share from 0 to 1"):
            to_zarr(partly, tmp_path / "other.zarr", max_failed=wrong)


def test_a_lake_is_a_product_too(tmp_path):
    to_zarr(product(np.nan, quality.BY_MEANING["water"].mask), tmp_path / "sm.zarr")
    assert os.listdir(tmp_path) == ["sm.zarr"]


def test_any_dataset_can_be_written(tmp_path):
    to_zarr(make_cube().chunk(), tmp_path / "cube.zarr")
    xr.testing.assert_equal(
        xr.open_zarr(tmp_path / "cube.zarr", consolidated=False).load(), make_cube()
    )


def test_plain_zarr_goes_to_s3_whole_or_not_at_all(s3):
    bucket = s3.bucket()
    url = f"s3://{bucket}/maps/sm.zarr"
    to_zarr(product(), url)
    back = xr.open_zarr(store_of(url), consolidated=False)
    xr.testing.assert_equal(back.load(), product().load())
    with pytest.raises(StoreExistsError, match="s3://"):
        to_zarr(product(), url)
    to_zarr(product(values=0.3), url, overwrite=True)
    again = xr.open_zarr(store_of(url), consolidated=False)
    assert float(again["soil_moisture"].max()) == pytest.approx(0.3)

    broken = product()
    broken["quality_flag"] = xr.full_like(broken["quality_flag"], 1 << 11)
    with pytest.raises(ReadError):
        to_zarr(broken, f"s3://{bucket}/maps/broken.zarr", max_failed=0)
    assert not [key for key in s3.keys(bucket) if "broken" in key]


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("s3://no-such-bucket/sm.zarr", StoreWriteError, "no-such-bucket"),
        ("s3://bucket", RequestError, "bucket and a path"),
        ("s3://key:secret@bucket/sm.zarr", RequestError, "in the environment"),
    ],
)
def test_what_is_no_place_in_a_cloud(s3, url, error, words):
    with pytest.raises(error, match=words) as caught:
        to_zarr(product(), url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plain_store_is_written_by_the_workers_of_a_cluster(s3):
    import distributed

    url = f"s3://{s3.bucket()}/sm.zarr"
    options = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster),
    ):
        to_zarr(product(), url)
    back = xr.open_zarr(store_of(url), consolidated=False)
    xr.testing.assert_equal(back.load(), product().load())


DERIVED = {
    "masked": lambda sm: sm.where(sm.quality_flag & 32 == 0),
    "averaged": lambda sm: sm.mean("time"),
    "averaged with attributes": lambda sm: sm.resample(time="MS").mean(keep_attrs=True),
    "nothing left": lambda sm: sm.where(sm.quality_flag == 1000),
}


@pytest.mark.parametrize("case", DERIVED)
@pytest.mark.parametrize("lazily", [False, True])
def test_a_masked_or_averaged_product_is_written(tmp_path, case, lazily):
    flagged = product()
    flagged["quality_flag"][:, :4] = 32
    derived = DERIVED[case](flagged if lazily else flagged.load())
    to_zarr(derived, tmp_path / "sm.zarr")
    back = xr.open_zarr(tmp_path / "sm.zarr", consolidated=False)
    np.testing.assert_array_equal(back.soil_moisture, derived.soil_moisture)
    np.testing.assert_array_equal(back.quality_flag, derived.quality_flag)


@pytest.mark.parametrize("lazily", [False, True])
def test_failed_reads_cannot_be_counted_by_flags_that_are_no_bits(tmp_path, lazily):
    derived = product().mean("time") if lazily else product().load().mean("time")
    with pytest.raises(RequestError, match=r"max_failed=0\.1 counts quality_flag, which is float"):
        to_zarr(derived, tmp_path / "sm.zarr", max_failed=0.1)
    assert not list(tmp_path.iterdir())
