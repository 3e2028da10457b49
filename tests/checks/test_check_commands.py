"""``gssm check`` as a user types it."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from gssm.cli import app
from gssm.simulate import simulate_scene

BOX = ("3.0200", "50.8100", "3.0260", "50.8140")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    place = tmp_path_factory.mktemp("check") / "scene"
    simulate_scene(place, size=120)
    return place


@pytest.fixture
def rain(tmp_path):
    days = pd.date_range("2023-05-01", "2023-07-15")
    values = np.random.default_rng(0).gamma(0.4, 6, len(days))
    path = tmp_path / "rain.csv"
    pd.DataFrame({"date": days, "rain": values}).to_csv(path, index=False)
    return path


def run(*words):
    return CliRunner().invoke(app, ["check", *map(str, words)])


@pytest.mark.filterwarnings("ignore::gssm.errors.GssmWarning")  # a scene without a past
def test_a_scene_is_checked_and_its_report_written(scene, rain, tmp_path):
    words = ("--catalog", scene, "--bbox", *BOX, "--datetime", "2023-06", "--rain", rain)
    result = run(*words, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    for name in ("response to rain", "seasons", "orbit to orbit", "texture", "seams of images"):
        assert f"{name}:" in result.stdout
    assert "too few for references of the past" in result.stderr
    assert "largest difference 0 m3 m-3 on" in result.stdout
    means = pd.read_csv(tmp_path / "report" / "means.csv")
    assert means["soil_moisture"].between(0, 0.6).sum() > 0
    again = run(*words, "--out", tmp_path / "report")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--rain", "none.csv"), "there is no file of rain at none.csv"),
        (("--fields", "none.nc"), "there is no file of fields at none.nc"),
        (("--bbox", "1", "2", "3", "x"), "'x'"),
    ],
)
def test_bad_requests_are_one_sentence(scene, words, says):
    result = run("--bbox", *BOX, "--datetime", "2023-06", "--catalog", scene, *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_fields_of_many_maps_ask_for_one(scene, tmp_path):
    maps = xr.Dataset({name: (("y", "x"), np.ones((2, 2))) for name in ("crop", "owner")})
    maps.to_netcdf(tmp_path / "fields.nc")
    words = ("--bbox", *BOX, "--datetime", "2023-06", "--catalog", scene)
    result = run(*words, "--fields", tmp_path / "fields.nc")
    assert result.exit_code == 2
    assert "has the maps crop, owner; name one" in result.stderr
    result = run(*words, "--fields", f"{tmp_path / 'fields.nc'}:owners")
    assert "name one" in result.stderr
