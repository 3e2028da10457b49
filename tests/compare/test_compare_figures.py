import sys

import numpy as np
import pandas as pd
import pytest
from compare.stations import measurements
from training.predicted_tables import predicted_table

from gssm.compare import saving
from gssm.compare.report import compare
from gssm.errors import RequestError, SamplesError, StoreExistsError

NAMES = ["random_forest", "xgboost"]
FILES = [
    *("comparison.txt", "differences.csv", "dropped.csv", "map.png", "scatter.png"),
    *("stations.csv", "table.csv"),
]


@pytest.fixture(scope="module")
def found():
    return compare(NAMES, predicted_table(8, 30), resamples=20)


def panels(figure):
    return [ax for ax in figure.axes if ax.get_xlabel() in ("longitude", "observed (m³ m⁻³)")]


def test_a_scatter_of_every_product(found):
    shown = panels(found.scatter())
    assert [ax.get_title() for ax in shown] == NAMES
    boxes = [ax.texts[0].get_text() for ax in shown]
    assert all("N 240" in text and "8 stations" in text for text in boxes)
    # Squares of 0.01 hold every pair.
    for ax in shown:
        counts = ax.collections[0].get_array()
        assert counts.sum() == 240


@pytest.mark.parametrize("metric", ["r", "bias", "ubrmse"])
def test_a_map_of_every_product_in_one_scale(found, metric):
    figure = found.map(metric)
    shown = panels(figure)
    assert [ax.get_title() for ax in shown] == [f"{name}: 8 stations" for name in NAMES]
    limits, seen = set(), []
    for ax in shown:
        (points,) = [c for c in ax.collections if c.get_array() is not None]
        limits.add(points.get_clim())
        seen.append(points.get_array())
        assert len(points.get_offsets()) == 8
    assert len(limits) == 1
    low, high = limits.pop()
    scores = np.concatenate([found.stations(name)[metric] for name in NAMES])
    np.testing.assert_allclose(np.sort(np.concatenate(seen)), np.sort(scores))
    if metric == "bias":
        assert low == -high
    if metric == "r":
        assert (low, high) == (0, 1)
    bar = figure.axes[-1]
    assert metric.lower() in bar.get_ylabel().lower()


def test_stations_of_few_pairs_are_counted_not_drawn():
    table = predicted_table(4, 30)
    few = table[~((table["station"] == table["station"].iloc[0]) & (table["time"].dt.month > 1))]
    ax = panels(compare(["xgboost"], few, resamples=10).map())[0]
    assert ax.get_title() == "xgboost: 3 of 4 stations (20 pairs or more)"


def test_maps_of_nothing_are_refused(found):
    with pytest.raises(RequestError, match="no metric 'coverage' to map"):
        found.map("coverage")
    table = measurements(2, 5)
    short = compare(["guess"], table.assign(guess=0.2), resamples=10)
    with pytest.raises(SamplesError, match="no station has a r"):
        short.map()


def test_figures_choose_no_backend(found):
    found.scatter(), found.map()
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_a_folder_of_files(found, tmp_path):
    folder = tmp_path / "new" / "report"
    written = found.save(folder)
    assert [file.name for file in written] == FILES
    assert (folder / "comparison.txt").read_text() == f"{found}\n"
    table = pd.read_csv(folder / "table.csv", index_col="product")
    np.testing.assert_allclose(table["rmse"], found.table["rmse"])
    stations = pd.read_csv(folder / "stations.csv")
    assert len(stations) == 16
    assert (folder / "map.png").read_bytes().startswith(b"\x89PNG")
    # What was measured is nowhere in it.
    assert not any("observed" in file.read_text() for file in folder.glob("*.csv"))


def test_a_folder_is_replaced_only_if_it_was_written_here(found, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "_draw", lambda _, file: file.touch())
    folder = tmp_path / "report"
    found.save(folder)
    with pytest.raises(StoreExistsError, match="exists already"):
        found.save(folder)
    (folder / "extra").touch()
    found.save(folder, overwrite=True)
    assert sorted(file.name for file in folder.iterdir()) == FILES
    other = tmp_path / "photos"
    other.mkdir()
    (other / "a.jpg").touch()
    with pytest.raises(StoreExistsError, match="nothing that gssm wrote"):
        found.save(other, overwrite=True)


def test_nothing_half_written_is_left(found, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "_draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saving.save(found, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_few_pairs_have_no_map(tmp_path):
    table = measurements(2, 5)
    short = compare(["guess"], table.assign(guess=0.2), resamples=10)
    assert "map.png" not in [file.name for file in short.save(tmp_path / "report")]
