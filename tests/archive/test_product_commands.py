"""``gssm export`` and ``gssm series`` as a user types them; exit codes and sentences."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from typer.testing import CliRunner

from archives import CHUNK, SQUARE, row_of, write
from gssm.archive.acquisitions import write_acquisition
from gssm.archive.packing import PACKINGS
from gssm.archive.repository import create_archive
from gssm.archive.zones import transformer
from gssm.cli import app

WIDE_TERMINAL = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env=WIDE_TERMINAL)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two dates, rows 300 to 399 and columns 400 to 599 of 31UFS; and a pixel elsewhere."""
    made = create_archive(str(tmp_path_factory.mktemp("one") / "archive"), chunk=CHUNK)
    for day in (1, 5):
        write(made, row_of(day))
    fill = {name: np.full((CHUNK, CHUNK), how.fill, how.dtype) for name, how in PACKINGS.items()}
    for values in fill.values():
        values[90, 90] = 0
    beyond = row_of(9, coverage=((50, 50),))
    write_acquisition(made, SQUARE, beyond, [((50, 50), fill)])
    return made.url


def degrees(row, column):
    left, _, _, top = SQUARE.bounds
    to_degrees = transformer(SQUARE.epsg, inverse=True)
    return to_degrees.transform(left + 10 * column + 5, top - 10 * row - 5)


@pytest.fixture
def box():
    (west, south), (east, north) = degrees(330, 430), degrees(320, 440)
    return west, south, east, north


@pytest.fixture
def elsewhere():
    """A box of the same square in which nothing was computed."""
    (west, south), (east, north) = degrees(5030, 5030), degrees(5020, 5040)
    return west, south, east, north


def test_numbers_may_come_as_one_word(archive, box, tmp_path):
    export = ("export", "--archive", archive, "--datetime", "2023-11")
    sizes = set()
    for number, words in enumerate(
        (
            ("--bbox", *box),
            ("--bbox", ",".join(map(str, box))),
            ("--bbox", " ".join(map(str, box))),
            (f"--bbox={','.join(map(str, box))}",),
        )
    ):
        path = tmp_path / f"{number}.nc"
        result = run(*export, *words, "--out", path)
        assert result.exit_code == 0, result.output
        with xr.open_dataset(path) as written:
            sizes.add(tuple(written.sizes.items()))
    assert len(sizes) == 1
    lon, lat = degrees(333, 444)
    series = ("series", "--archive", archive)
    for number, words in enumerate((("--point", lon, lat), ("--point", f"{lon},{lat}"))):
        result = run(*series, *words, "--out", tmp_path / f"{number}.csv")
        assert result.exit_code == 0, result.output
        assert len(pd.read_csv(tmp_path / f"{number}.csv")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bbox", "3.01,50.81,3.03"), "is 3 values; give 4 numbers .* --bbox W S E N"),
        (("--bbox", "3,01,50,81,3,03,50,82"), "is 8 values; give 4 numbers"),
        (("--point", "3.01,50.81,7"), "is 3 values; give 2 numbers .* --point LON LAT"),
    ],
)
def test_too_few_numbers_in_a_word_are_said_so(archive, tmp_path, words, message):
    command = "export" if "--bbox" in words else "series"
    more = ("--archive", archive, "--datetime", "2023-11", "--out", tmp_path / "out.nc")
    result = run(command, *words, *more)
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert pd.Series(said).str.contains(message).all(), said
    assert not list(tmp_path.iterdir())


def test_the_help_names_the_numbers_as_they_are_typed():
    assert "--bbox W S E N" in " ".join(run("export", "--help").stdout.split())
    assert "--point LON LAT" in " ".join(run("series", "--help").stdout.split())
    assert "--variables soil_moisture" in " ".join(
        run("export", "--help").stdout.replace("│", " ").split()
    )


def test_one_geotiff_is_refused_with_what_a_shell_can_do(archive, box, tmp_path):
    words = ("export", "--archive", archive, "--bbox", *box, "--out", tmp_path / "one.tif")
    day = ("--datetime", "2023-11-15")
    refused = run(*words, *day)
    assert refused.exit_code == 2
    assert "1 dates of 5 variables" in refused.stderr
    assert "--variables soil_moisture" in refused.stderr
    assert run(*words, *day, "--variables", "soil_moisture").exit_code == 0
    with rasterio.open(tmp_path / "one.tif") as file:
        assert file.tags()["variable"] == "soil_moisture"


def test_an_export_or_series_of_what_was_never_computed_says_so(archive, elsewhere, tmp_path):
    result = run(
        *("export", "--archive", archive, "--bbox", *elsewhere, "--datetime", "2023-11"),
        *("--out", tmp_path / "none.nc"),
    )
    assert result.exit_code == 0, result.output
    assert "none.nc holds not one value of soil_moisture" in result.stderr
    assert (tmp_path / "none.nc").exists()
    polygon = ("--polygon", " ".join(map(str, elsewhere)))
    result = run("series", "--archive", archive, *polygon, "--out", tmp_path / "none.csv")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: archive ")
    assert "was computed on any of them" in result.stderr
    assert "0 dates" in result.stdout
