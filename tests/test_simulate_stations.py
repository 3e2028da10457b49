"""Simulated stations, through the reader of the ISMN and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyproj import Transformer

from gssm.errors import RequestError, StoreExistsError
from gssm.simulate_events import irrigate, simulate_events
from gssm.simulate_stations import simulate_stations, write_ismn
from gssm.training.insitu import COLUMNS, read_ismn

# Inside the scene, off the river.
PLACE = (3.0222, 50.8166)
HOURS = pd.date_range("2023-06-03 18:00", "2023-06-20", freq="12h")


def test_a_station_measures_the_truth_of_its_pixel(tmp_path: Path) -> None:
    truth = simulate_events(tmp_path / "scene", size=40, schedule=3)
    times = pd.DatetimeIndex(truth["time"].values)
    exact = simulate_stations({"Meadow": PLACE}, times, size=40, noise=0)
    assert list(exact.columns) == list(COLUMNS)
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(*PLACE)
    pixel = truth["soil_moisture"].sel(x=x, y=y, method="nearest")
    np.testing.assert_array_equal(exact["soil_moisture"], pixel)
    noisy = simulate_stations({"Meadow": PLACE}, HOURS, size=40, noise=0.02)
    error = (
        noisy["soil_moisture"]
        - simulate_stations({"Meadow": PLACE}, HOURS, size=40, noise=0)["soil_moisture"]
    )
    assert 0.012 < error.std() < 0.028


def test_it_follows_events() -> None:
    area = [{"type": "Polygon", "coordinates": [[[3, 50.8], [3.1, 50.8], [3.1, 50.9], [3, 50.8]]]}]
    dry = simulate_stations({"Meadow": PLACE}, HOURS, size=40, noise=0)
    wet = simulate_stations(
        {"Meadow": PLACE}, HOURS, [irrigate(area, ["2023-06-07"])], size=40, noise=0
    )
    difference = (wet["soil_moisture"] - dry["soil_moisture"]).to_numpy()
    before = HOURS < "2023-06-07 12:00"
    assert (difference[before] == 0).all()
    assert (difference[~before] > 0).all()


def test_the_download_is_read_back(tmp_path: Path) -> None:
    places = {"Meadow": PLACE, "Field": (3.0205, 50.8160)}
    table = simulate_stations(places, HOURS, network="NET", size=40)
    folder = write_ismn(table, tmp_path / "download")
    back = read_ismn(folder)
    assert len(back) == len(table)
    assert back.groupby("station")["time"].size().to_dict() == {
        "Meadow": len(HOURS),
        "Field": len(HOURS),
    }
    expected = table.sort_values(["network", "station", "time"]).reset_index(drop=True)
    np.testing.assert_allclose(back["soil_moisture"], expected["soil_moisture"], atol=6e-5)
    np.testing.assert_allclose(back["longitude"], expected["longitude"], atol=1e-6)
    assert (back["time"].to_numpy() == expected["time"].to_numpy()).all()
    with pytest.raises(StoreExistsError):
        write_ismn(table, folder)


@pytest.mark.parametrize("place", [(3.0205, 50.9), (2.0, 50.8166)])
def test_a_place_off_the_farm_is_refused(place: tuple[float, float]) -> None:
    with pytest.raises(RequestError, match="not on the land"):
        simulate_stations({"Meadow": place}, HOURS, size=40)
