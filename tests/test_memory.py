from __future__ import annotations

import re

import pytest
import xarray as xr
from distributed import Client, LocalCluster

import gssm
from cubes import make_cube
from gssm.errors import RequestError
from gssm.memory import refuse_large_chunks

CUBE = make_cube(shape=(2, 8, 8))


@pytest.fixture
def small_workers():
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=True,
            memory_limit="1GB",
            dashboard_address=":0",
        ) as cluster,
        Client(cluster),
    ):
        yield


def planned(side: int) -> xr.Dataset:
    import dask.array as da

    def grown(variable: xr.DataArray) -> tuple[tuple[str, ...], da.Array, dict[str, str]]:
        shape = tuple(2 if d == "time" else side for d in variable.dims)
        chunks = tuple(1 if d == "time" else side for d in variable.dims)
        return (
            variable.dims,
            da.zeros(shape, "f4", chunks=chunks, name=f"of-{variable.name}"),
            variable.attrs,
        )

    return xr.Dataset(
        {name: grown(CUBE[name]) for name in CUBE},
        coords={
            "time": CUBE.time,
            "y": 5_629_675 - 10.0 * xr.DataArray(range(side), dims="y"),
            "x": 501_365 + 10.0 * xr.DataArray(range(side), dims="x"),
        },
    )


def test_chunks_that_no_worker_could_hold_are_refused(small_workers):
    with pytest.raises(
        RequestError, match=r"chunks of 4096 x 4096 pixels need about .* GB"
    ) as told:
        gssm.predict(planned(4096))
    assert "1.0 GB" in str(told.value)
    side = int(re.search(r"'y': (\d+)", str(told.value))[1])
    assert 64 <= side < 1024
    assert gssm.predict(planned(4096).chunk({"y": side, "x": side})).soil_moisture.chunks


def test_workers_too_small_for_any_chunk_are_told_of(small_workers, monkeypatch):
    monkeypatch.setattr("gssm.memory.PROCESS", 1e9)
    with pytest.raises(RequestError, match="give the workers more memory or fewer threads"):
        gssm.predict(planned(1024))


def test_without_a_cluster_nothing_is_refused():
    refuse_large_chunks(planned(4096)["vv"], (planned(4096),))
    assert gssm.predict(planned(4096)).soil_moisture.chunks
