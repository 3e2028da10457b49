import numpy as np
import pandas as pd
import pytest
from compare.stations import field

from gssm.compare.grids import compare_products
from gssm.errors import CubeError, EmptySearchError, RequestError

TIMES = pd.date_range("2020-06-01T06:00", periods=30, freq="1D")


def fine_and_coarse(offset=0.03, hours=0):
    """Cells of 0.1 degree whose value is the mean of the pixels in them, plus a constant."""
    rng = np.random.default_rng(0)
    cells = 0.25 + 0.1 * rng.normal(size=(30, 4, 5)) * np.linspace(0.5, 1, 5)
    pixels = cells.repeat(4, axis=1).repeat(4, axis=2)
    pixels = pixels + 0.02 * np.tile([[1, -1], [-1, 1]], (8, 10))
    coarse = field(cells, TIMES)
    fine = field(
        pixels + offset,
        TIMES + pd.Timedelta(hours=hours),
        y=51.05 - 0.025 * (np.arange(16) + 0.5),
        x=3.0 + 0.025 * (np.arange(20) + 0.5),
    )
    return fine, coarse


def test_the_fine_is_averaged_over_the_coarse_and_scored_by_cell():
    fine, coarse = fine_and_coarse()
    found = compare_products({"map": fine}, coarse, reference_name="smap")
    assert found.table.loc["map", "N"] == 30 * 4 * 5
    assert found.table.loc["map", "stations"] == 20
    assert found.table.loc["map", "bias"] == pytest.approx(0.03, abs=1e-4)
    assert found.table.loc["map", "ubrmse"] == pytest.approx(0, abs=1e-4)
    assert found.dropped == {}
    text = str(found)
    assert text.startswith("Comparison of map using 600 values of smap of 20 cells")
    place = found.pairs[found.pairs["station"] == "cell/0-0"].iloc[0]
    assert (place["latitude"], place["longitude"]) == pytest.approx((51.0, 3.05))


def test_times_are_matched_and_what_is_left_out_is_named():
    fine, coarse = fine_and_coarse(hours=5)
    found = compare_products({"map": fine.isel(time=slice(0, 20))}, coarse.isel(time=slice(5, 30)))
    assert found.table.loc["map", "N"] == 15 * 20
    assert found.dropped == {"rows of map without reference within 12h": 100}
    with pytest.raises(EmptySearchError):
        compare_products({"map": fine}, coarse, window="4h")


def test_several_products_have_the_same_cells():
    fine, coarse = fine_and_coarse()
    west = fine.isel(x=slice(0, 8))
    found = compare_products({"map": fine, "west": west}, coarse, min_valid=1)
    assert found.table["stations"].tolist() == [8, 8]
    assert found.differences.loc["west", "bias"] == pytest.approx(0, abs=1e-6)
    assert found.scatter().axes[0].get_xlabel().startswith("reference")


def test_flags_are_heeded_on_both_sides():
    fine, coarse = fine_and_coarse()
    for product in (fine, coarse):
        product["recommended"] = product["soil_moisture"].copy(
            data=np.ones(product["soil_moisture"].shape, np.uint8)
        )
    fine["recommended"][0] = 0
    coarse["recommended"][1] = 0
    assert compare_products({"map": fine}, coarse).table.loc["map", "N"] == 28 * 20
    assert compare_products({"map": fine}, coarse, flagged=True).table.loc["map", "N"] == 30 * 20


def test_what_is_no_grid_is_refused():
    fine, coarse = fine_and_coarse()
    with pytest.raises(RequestError, match="is a str; give a dataset"):
        compare_products({"map": "pred"}, coarse)
    with pytest.raises(RequestError, match="swap the two"):
        compare_products({"map": coarse}, fine)


def test_a_fill_value_is_refused_before_it_passes_into_a_mean():
    fine, coarse = fine_and_coarse()
    fine["soil_moisture"][3, 0, 0] = -9999
    for product in (fine, fine.chunk({"time": 10})):
        with pytest.raises(CubeError, match=r"'map' is -9999 somewhere.*mask its fill value"):
            compare_products({"map": product}, coarse)
