"""The examples of docs/compare.md run, and its table names what the readers read."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare import product_files as files
from compare.stations import field, measurements, one_at_a_time
from training.sample_tables import simulated_samples

import gssm
from gssm.compare.layouts import LAYOUTS
from gssm.compare.opening import OWN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compare.md"
SECONDS = (np.datetime64("2020-06-01") - np.datetime64("2000-01-01T12:00")) / np.timedelta64(1, "s")


def blocks():
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """What the examples read: made up, and laid out as published."""
    monkeypatch.chdir(tmp_path)
    samples = one_at_a_time(simulated_samples(6, 30)).assign(pred_reference=np.float32(0.2))
    samples.to_parquet("stations_l2.parquet")
    days = pd.date_range("2020-06-01", periods=20)
    smap = tmp_path / "SPL3SMP"
    smap.mkdir()
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.1, 0.4, 20)
    for number, day in enumerate(days):
        second = SECONDS + 86400 * number + 6 * 3600
        value = truth[number] + rng.normal(0, 0.02)
        cells = {(r, c): (value, 0, second) for r in range(43, 48) for c in range(487, 495)}
        files.smap_l3(smap, f"{day:%Y%m%d}", cells, evening=False)
    times = days + pd.Timedelta(hours=6)
    wide = (truth + rng.normal(0, 0.02, 20))[:, None, None] * np.ones((1, 60, 90))
    rows, columns = 51.2 - np.arange(60) / 100, 2.8 + np.arange(90) / 100
    gssm.to_zarr(field(wide, times, y=rows, x=columns), "flanders.zarr")
    gssm.to_zarr(field(wide, times, y=rows, x=columns), "my-archive")
    (tmp_path / "s2mp").mkdir()
    for day in days[:5]:
        files.s2mp(tmp_path / "s2mp" / f"{day:%Y%m%d}T060000.tif", np.full((600, 600), 100))
    files.copernicus_ssm(tmp_path, "20200601", [[0, 100], [200, 255]])
    stations = measurements(6, 40)
    stations["soil_moisture"] = np.tile(np.repeat(truth, 2), 6) + rng.normal(0, 0.01, 240)
    monkeypatch.setattr("gssm.training.uscrn.read_uscrn", lambda _: stations)
    return tmp_path


def test_the_examples_run(place):
    names: dict[str, object] = {}
    for code in blocks():
        exec(compile(code, str(PAGE), "exec"), names)
    assert (place / "report" / "scatter.png").exists()
    assert names["found"].reference == "SMAP L3"
    assert names["found"].table.loc["gssm", "N"] > 0
    assert float(names["saturation"]["soil_moisture"].max()) == pytest.approx(0.45)


def test_the_table_names_every_layout():
    text = PAGE.read_text(encoding="utf-8")
    rows = {
        row.split("|")[1].strip(" `"): row for row in text.splitlines() if row.startswith("| `")
    }
    assert {*LAYOUTS, OWN} <= set(rows)
    for name, layout in LAYOUTS.items():
        assert f"0–{100 * layout.depth[1]:g} cm" in rows[name]
        stated = [v.rpartition("/")[2] for v in layout.variables]
        assert all(v in rows[name] for v in stated)
        if layout.flag is not None:
            assert f"`{layout.flag}`" in rows[name]
    # And where each is published.
    for layout in LAYOUTS.values():
        first = re.search(r"https?://[^\s;,)]+|CGLOPS1_PUM_SSM1km-V1", layout.source)[0]
        assert first.rstrip(".") in text
