"""``gssm compare`` as a user types it."""

import numpy as np
import pytest
import xarray as xr
from compare import product_files as files
from compare.stations import measurements, one_at_a_time
from training.sample_tables import simulated_samples
from typer.testing import CliRunner

import gssm.compare_commands  # noqa: F401 - registers the command
from gssm.shell import app

WIDE = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


def run(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)], env=WIDE)


@pytest.fixture
def samples(tmp_path):
    file = tmp_path / "samples.parquet"
    table = one_at_a_time(simulated_samples(6, 30))
    table.assign(pred_reference=np.float32(0.2)).to_parquet(file)
    return file


@pytest.fixture
def in_situ(tmp_path):
    file = tmp_path / "stations.csv"
    measurements(6, 10).to_csv(file, index=False)
    return file


def test_the_default_model_and_a_column_of_the_table(samples, tmp_path):
    result = run(samples, "pred_reference", "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("Validation of gssm and pred_reference using 180 in situ")
    assert lines[2].split()[:2] == ["Product", "R²"]
    assert [line.split()[0] for line in lines[3:7:2]] == ["gssm", "pred_reference"]
    assert "Nothing was left out." in lines
    assert (tmp_path / "report" / "scatter.png").exists()
    again = run(samples, "pred_reference", "--out", tmp_path / "report")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_column_alone_and_under_another_name(samples):
    result = run(samples, "Transformer=pred_reference", "--model", "none")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Validation of Transformer using 180")


def test_products_in_files_with_stations(in_situ, tmp_path):
    folder = tmp_path / "cci"
    folder.mkdir()
    files.esa_cci(folder, "20200601", np.full((2, 4), 50.0), kind="ACTIVE")
    words = (in_situ, f"cci={folder}", "--source", "table", "--window", "daily")
    refused = run(*words)
    assert refused.exit_code == 2
    assert "--porosity 0.45 in a shell" in refused.stderr
    result = run(*words, "--porosity", 0.4)
    assert result.exit_code == 0, result.output
    assert "Validation of cci using 6 in situ" in result.output
    assert "R² is not given" in result.output


def test_a_product_is_named_where_its_files_do_not_tell(in_situ, tmp_path):
    tif = files.s2mp(tmp_path / "20200602.tif", np.full((600, 600), 150))
    assert run(in_situ, tif, "--source", "table").exit_code == 2
    result = run(in_situ, f"S2MP=s2mp:{tif}", "--source", "table")
    assert result.exit_code == 0, result.output
    assert "Validation of S2MP using 1 in situ" in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "'nowhere' is neither a column of the table nor a path"),
        (["a=pred_reference", "a=vv"], "two products are called 'a'"),
        (["pred_reference", "--source", "web"], "no source 'web'"),
        (["pred_reference", "--window", "12"], "no time between two values"),
    ],
)
def test_mistakes_get_a_sentence(samples, words, says):
    result = run(samples, *words, "--model", "none")
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_table_that_is_none_gets_a_sentence(tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no table")
    result = run(broken, "x", "--source", "table")
    assert result.exit_code == 6
    assert "cannot be read as a table of measurements" in result.stderr


def test_hints_are_words_that_one_can_type(in_situ, tmp_path):
    file = tmp_path / "unknown.nc"
    files.era5_land(file, np.full((1, 2, 2), 0.2), ["2020-06-01"])
    with xr.open_dataset(file) as stored:
        stored.load().rename(swvl1="water").to_netcdf(tmp_path / "other.nc")
    refused = run(in_situ, f"it={tmp_path / 'other.nc'}", "--source", "table")
    assert refused.exit_code == 2
    assert "(NAME=PRODUCT:PATH in a shell)" in refused.stderr
