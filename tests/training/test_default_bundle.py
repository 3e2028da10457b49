"""The shipped model is what its manifest says, and can be remade."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gssm
from gssm.cli import app
from gssm.models.bundle import resolve

DEFAULT = Path(gssm.__file__).parent / "models" / "default"


def test_it_says_what_it_is():
    provenance = gssm.load_model().provenance
    training = provenance["training"]
    assert training["networks"] == ["SCAN", "USCRN"]
    assert training["rows"] == 13125
    assert training["stations"] == 55
    assert all("public domain" in text for text in provenance["licence"]["labels"].values())
    scores = provenance["skill"][0]["scores"]["soil_moisture"]
    assert scores["N"] == training["rows"]
    assert -1 < scores["r2"] < 0.9
    assert sum(f.stat().st_size for f in DEFAULT.iterdir()) <= 20e6


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_of_its_manifest_remakes_it_bit_for_bit(test_data, tmp_path):
    command = gssm.load_model().provenance["training"]["command"]
    words = shlex.split(command.replace("<folder>", str(tmp_path / "remade")))
    words = [str(test_data / "stations" / w) if w == "stations_l2.parquet" else w for w in words]
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    assert resolve(tmp_path / "remade").sha256 == resolve("default").sha256
    for file in DEFAULT.iterdir():
        assert file.read_bytes() == (tmp_path / "remade" / file.name).read_bytes()
