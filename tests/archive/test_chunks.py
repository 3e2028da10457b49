"""Chunks are written by one task each, ground by ground, and each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import gssm
from gssm.archive import chunks

SHAPE, BLOCK = (2, 20, 30), (1, 8, 8)


def lazy_product(note: Any = None) -> xr.Dataset:
    """A product whose chunks call ``note`` with their place when they are computed."""
    random = np.random.default_rng(0)
    moisture = random.random(SHAPE, np.float32)
    moisture[:, :3] = np.nan
    flags = random.integers(0, 3, SHAPE).astype(np.uint16)

    def noted(block: Any, block_id: tuple[int, ...] = ()) -> Any:
        if note:
            note(block_id)
        return block

    made = da.from_array(moisture, chunks=BLOCK).map_blocks(noted, dtype=np.float32, meta=moisture)
    dims = ("time", "y", "x")
    return xr.Dataset(
        {
            "soil_moisture": (dims, made),
            "soil_moisture_uncertainty": (dims, made * np.float32(0.1)),
            "quality_flag": (dims, da.from_array(flags, chunks=BLOCK)),
        },
        coords={"time": np.array(["2020-05-01", "2020-05-07"], "datetime64[ns]")},
    )


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_what_is_written_is_what_was_computed(tmp_path: Path, scheduler: str) -> None:
    product = lazy_product()
    product["dsm"] = (("y", "x"), da.ones(SHAPE[1:], chunks=5, dtype=np.float64))
    product["names"] = (("time",), da.from_array(np.array([True, False]), chunks=1))
    expected = product.compute().assign(dsm=product["dsm"].astype(np.float32).compute())
    for dataset in (product.drop_vars("names"), product):  # with a bool, xarray writes it all
        with dask.config.set(scheduler=scheduler):
            gssm.to_zarr(dataset, tmp_path / "sm.zarr", overwrite=True)
        with xr.open_zarr(tmp_path / "sm.zarr", consolidated=False) as back:
            xr.testing.assert_equal(back.load(), expected[list(dataset.variables)])
            assert back["soil_moisture"].encoding["chunks"] == BLOCK


def test_all_dates_of_some_ground_come_before_the_next_and_each_chunk_once(tmp_path: Path) -> None:
    places: list[tuple[int, ...]] = []
    with dask.config.set(scheduler="synchronous"):
        gssm.to_zarr(lazy_product(places.append), tmp_path / "sm.zarr")
    ground = [place[1:] for place in places]
    assert len(places) == len(set(places)) == 2 * 3 * 4
    assert ground == sorted(ground)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 40))
def test_batches_are_every_chunk_once(shape: list[int], threads: int) -> None:
    written = da.zeros((*shape, len(chunks.COUNTS)), chunks=(*(1 for _ in shape), -1))
    seen = np.zeros(written.shape, int)
    with dask.config.set(scheduler="threads", num_workers=threads):
        batches = list(chunks._batches(written))
    for part in batches:
        seen[part] += 1
        assert seen[part].size <= chunks.PER_THREAD * threads * 3 * shape[0] * max(shape)
    assert (seen == 1).all()


def test_counts_are_those_of_the_product() -> None:
    product = lazy_product().compute()
    valued, failed, unexplained = map(int, chunks.count(product))
    assert valued == np.isfinite(product["soil_moisture"].values).sum()
    assert (failed, unexplained) == (0, product["soil_moisture"].size - valued)


def test_metadata_are_made_of_zeros_that_are_never_computed() -> None:
    product = lazy_product()
    hollow = chunks.hollow(product)
    assert hollow["soil_moisture"].chunks == product["soil_moisture"].chunks
    assert hollow.sizes == product.sizes
    assert {n: v.dtype for n, v in hollow.items()} == {n: v.dtype for n, v in product.items()}
    assert len(hollow["soil_moisture"].data.dask.layers) == 1
