import numpy as np
import pytest
import xarray as xr

from gssm.demo import run_demo
from gssm.errors import StoreExistsError


def test_the_demo_goes_through_the_whole_line(tmp_path):
    folder = tmp_path / "demo"
    result = run_demo(folder, size=40)
    assert len(result.table) == 4
    assert (result.table["valued"] > 0.8).all()
    assert np.isfinite(result.table[["r", "bias", "ubrmse"]]).all(axis=None)
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    with xr.open_zarr(result.store, consolidated=False) as product:
        assert product.attrs["source_items"]
    run_demo(folder, size=40)  # its own folder is replaced


def test_the_demo_does_not_touch_another_folder(tmp_path):
    (tmp_path / "thesis.txt").write_text("five years")
    with pytest.raises(StoreExistsError, match="not of an earlier demo"):
        run_demo(tmp_path, size=40)
    assert (tmp_path / "thesis.txt").read_text() == "five years"
