"""What the pages name and a reader has: a catalogue, downloads, tables, archives; made up here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from compare import product_files
from compare.stations import one_at_a_time
from training.sample_tables import simulated_samples
from training.test_published import published_table
from web.web_archives import row_of, small_archive

from gssm.simulate_items import passes

# The scene: 400 m of fields, seen nine times (references of the past want eight).
SIZE, DATES = 40, 9
BBOX = (3.0200, 50.8155, 3.0245, 50.8185)
STATIONS = {"Farm": (3.0215, 50.8175), "Weir": (3.0230, 50.8163)}
# Of the dates of the scene.
FIRST, DAYS = pd.Timestamp("2023-06-01"), 70


def ismn(file: Path) -> Path:
    """A download of ISMN with two stations inside the scene, values of ten weeks."""
    times = pd.date_range(FIRST, periods=DAYS * 4, freq="6h")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as download:
        for number, (station, (lon, lat)) in enumerate(STATIONS.items()):
            values = 0.2 + 0.02 * number + 0.05 * np.sin(np.arange(len(times)) / 20)
            lines = [f"NET NET {station} {lat} {lon} 20.0 0.0000 0.0500 Probe"]
            lines += [f"{t:%Y/%m/%d %H:%M} {v:.4f} G M" for t, v in zip(times, values, strict=True)]
            dates = f"{times[0]:%Y%m%d}_{times[-1]:%Y%m%d}"
            name = f"NET_NET_{station}_sm_0.000000_0.050000_Probe_{dates}.stm"
            download.writestr(f"NET/{station}/{name}", "\n".join(lines) + "\n")
    return file


def published(folder: Path) -> Path:
    """The table that was published with the paper, in its layout."""
    one = published_table()
    parts = []
    for number in range(20):
        moved = one.assign(
            latitude=one["latitude"] + 0.0005 * number,
            soil_moisture=one["soil_moisture"] + 0.002 * number,
        )
        parts.append(moved.assign(network=f"NET{number % 2}"))
    path = folder / "published.pkl"
    pd.concat(parts, ignore_index=True).to_pickle(path)
    return path


def tables(folder: Path) -> dict[str, Path]:
    """Tables of samples: enough rows to learn from, with two names of networks."""
    samples = one_at_a_time(simulated_samples(6, 20)).assign(pred_reference=np.float32(0.2))
    public = samples.replace({"network": {"NETA": "USCRN", "NETB": "SCAN"}})
    made = {"samples": folder / "enough.parquet", "stations": folder / "public.parquet"}
    samples.to_parquet(made["samples"])
    public.to_parquet(made["stations"])
    return made


def products(folder: Path) -> dict[str, Path]:
    """Days of ESA CCI near the passes, and hours of ERA5-Land over the scene."""
    cci = folder / "cci"
    cci.mkdir()
    # A file is of midnight, and the next one nearer to passes in the evening.
    nights = {f"{time + pd.Timedelta('1D'):%Y%m%d}" for time, _ in passes(DATES)}
    for day in sorted(nights):
        product_files.esa_cci(cci, day, np.full((2, 4), 0.25))
    hours = pd.date_range(FIRST, periods=DAYS * 4, freq="6h")
    era5 = product_files.era5_land(folder / "era5.nc", np.full((len(hours), 3, 3), 0.3), hours)
    return {"cci": cci, "era5": era5}


def rain(file: Path) -> Path:
    """Daily rain of the year of the scene and the archive."""
    days = pd.date_range("2023-01-01", "2023-12-31")
    amount = np.where(np.arange(len(days)) % 9 == 0, 12.0, 0.0)
    pd.DataFrame({"date": days, "rain": amount}).to_csv(file, index=False)
    return file


def demo_archive(folder: Path):
    """An archive of the places that pages ask one for."""
    # Square 31UES, chunks of 200 pixels: 3.06 east, 50.79 north and the box beside it; the scene.
    there = tuple((row, column) for row in range(35, 38) for column in range(4))
    # Days from the first of 2024: 5 and 8 June 2023.
    rows = (row_of(-210, coverage=there), row_of(-207, coverage=there))
    return small_archive(folder / "demo", rows)
