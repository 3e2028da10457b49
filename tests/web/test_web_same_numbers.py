"""One place and date: the same numbers from the API, from `gssm.predict` and from the shell."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer
from starlette.testclient import TestClient
from typer.testing import CliRunner

import gssm
from gssm.cli import app as shell
from gssm.web.app import create_app
from gssm.web.jobs import Jobs
from gssm.web.jobs_cluster import Workers
from web_apps import LOOSE, settings_of
from web_jobs import cluster_here, scene, wait_for

API = "/api/v1"
# Half a step of what is stored, and of the six digits that the API says.
CLOSE = {"soil_moisture": 0.51e-4, "soil_moisture_uncertainty": 0.51 * 2e-3}
AGES = {"s2_age": 0.0051, "landsat_age": 0.0051}
# Pixels of the rim have less to go by for slopes where nothing but the box is opened.
RIM = 3


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The map of one date in three ways: cube and product, store of the shell, and client."""
    folder = tmp_path_factory.mktemp("same")
    box = scene(folder, size=40, dates=2)
    told = settings_of(folder, {"main": folder / "main"}, limits=LOOSE)
    app = create_app(told)
    with cluster_here() as workers:
        shared = app.state.context
        jobs = Jobs(
            told, shared.datasets, workers=Workers(open_=lambda: nullcontext(workers)), chunk=50
        )
        app.state.context = replace(shared, jobs=jobs)
        with TestClient(app) as client:
            date, dataset = predicted(client, box)
            day = f"{date[:4]}-{date[4:6]}-{date[6:8]}"
            catalogue = folder / "catalogue"
            items = gssm.search(box, day, catalog=catalogue)
            cube = gssm.open_cube(items, bbox=box)
            ages = {name: cube[name] for name in AGES}
            product = gssm.predict(cube).assign(ages)
            store = folder / "shell.zarr"
            words = ("predict", "--bbox", *box, "--datetime", day)
            words += ("--catalog", catalogue, "--out", store)
            result = CliRunner().invoke(shell, [str(word) for word in words])
            assert result.exit_code == 0, result.output
            yield client, box, date, dataset, product.isel(time=0).load(), store


def predicted(client, box):
    """Ask for the first date of the catalogue over a box, and wait for its dataset."""
    place = {"bbox": ",".join(map(str, box)), "datetime": "2023-06"}
    date = client.get(f"{API}/catalog/dates", params=place).json()["dates"][0]["id"]
    job = client.post(f"{API}/jobs", json={"bbox": list(box), "date": date}).json()

    def end():
        now = client.get(f"{API}/jobs/{job['id']}").json()
        return now if now["state"] in ("done", "failed") else None

    done = wait_for(end)
    assert done["state"] == "done", done
    return date, done["dataset"]


def test_the_point_of_a_prediction_is_that_of_predict_and_of_the_shell(found):
    client, _, date, dataset, product, store = found
    shell_product = xr.open_zarr(store, consolidated=False).isel(time=0).load()
    degrees = Transformer.from_crs(32631, 4326, always_xy=True).transform
    rng, seen = np.random.default_rng(0), 0
    rows = rng.integers(RIM, product.sizes["y"] - RIM, 25)
    columns = rng.integers(RIM, product.sizes["x"] - RIM, 25)
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        one = product.isel(y=i, x=j)
        lon, lat = degrees(float(one.x), float(one.y))
        where = {"lon": lon, "lat": lat, "date": date}
        said = client.get(f"{API}/datasets/{dataset}/point", params=where).json()
        other = shell_product.isel(y=i, x=j)
        assert (float(other.x), float(other.y)) == (float(one.x), float(one.y))
        for name, close in {**CLOSE, **AGES}.items():
            ours = np.nan if said[name] is None else said[name]
            np.testing.assert_allclose(ours, float(one[name]), atol=close, err_msg=name)
            if name in CLOSE:
                np.testing.assert_allclose(ours, float(other[name]), atol=close, err_msg=name)
        assert said["quality_flag"] == int(one["quality_flag"]) == int(other["quality_flag"])
        seen += said["soil_moisture"] is not None
    assert seen > 10


def test_the_download_of_a_prediction_has_the_numbers_of_predict(found, tmp_path):
    client, box, date, dataset, product, _ = found
    asked = {
        "bbox": ",".join(map(str, box)),
        "datetime": f"{date[:4]}-{date[4:6]}-{date[6:8]}",
        "format": "cog",
        "variable": "soil_moisture",
    }
    answer = client.get(f"{API}/datasets/{dataset}/download", params=asked)
    assert answer.status_code == 200, answer.text
    (tmp_path / "map.tif").write_bytes(answer.content)
    with rasterio.open(tmp_path / "map.tif") as file:
        inner = product["soil_moisture"][RIM:-RIM, RIM:-RIM]
        xs, ys = np.meshgrid(inner.x, inner.y)
        rows, columns = rasterio.transform.rowcol(file.transform, xs.ravel(), ys.ravel())
        values = file.read(1, masked=True).astype(float) * file.scales[0] + file.offsets[0]
        values = values.filled(np.nan)[rows, columns].reshape(inner.shape)
    np.testing.assert_allclose(values, inner.values, atol=CLOSE["soil_moisture"])
    assert np.isfinite(values).any()
