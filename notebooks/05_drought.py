# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Drought: how dry is it for the time of the year?
#
# **Shows** how an archive of some years becomes its own climatology, and a date an anomaly: in
# standard deviations and as a percentile.
#
# **Cannot show** a drought as agriculture means it. It is the moisture of the upper 5 cm; and a
# climatology of a few years is thin: with 12 values the lowest percentile that can be told is 8,
# and a "one in ten years" cannot be told at all. Weather services use 30 years; Sentinel-1 has
# flown since 2014.
#
# One line, `SIMULATED = False`, takes an archive that you have.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shapely

import gssm

SIMULATED = True
YEAR = 2023  # the one that is asked about; the others make the climatology

# %%
if SIMULATED:
    from gssm.simulate_events import season, simulate_events, simulate_rain, wilt

    folder = Path(tempfile.mkdtemp())
    catalog, seasons, chunk = folder / "catalogue", range(2019, 2024), 250
    rain = simulate_rain("2019-03-01", "2023-09-30")
    rain = {day: wets for day, wets in rain.items() if not "2023-06-01" <= day <= "2023-08-10"}
    truth = simulate_events(
        catalog,
        [wilt("2023-07-01", "2023-08-31")],
        size=50,
        schedule=season("06-20", "08-10", seasons),
        rain=rain,
    )["soil_moisture"]
    bbox = (3.0195, 50.8143, 3.0262, 50.8183)

# %% [markdown]
# In the simulation rain is drawn at random, one day in four, and none falls from 1 June to 10
# August 2023. Plants are the same each year, but for July and August of 2023, when NDVI loses 40
# % of what it has above bare soil. One orbit, a pass each 12 days.
#
# ## The archive
#
# Two commands: `gssm archive build`, and before it `gssm.archive.past_run.fill_past`, the
# references of the past that the default model asks for. They come from the same years, as they
# would for a real place.

# %%
if SIMULATED:
    from gssm.archive.clusters import cluster
    from gssm.archive.past_run import fill_past
    from gssm.archive.plan import steps
    from gssm.archive.recipe import Recipe
    from gssm.archive.repository import create_archive
    from gssm.archive.rounds import Round
    from gssm.archive.run import run

    archive = create_archive(folder / "archive", chunk=chunk)
    area = shapely.box(*bbox)
    recipe = Recipe(catalog=str(catalog), area=shapely.to_geojson(area))
    # Only the months of which there are images: each is a search of the catalogue.
    rounds = [Round(area, f"{year}-06-20/{year}-08-10") for year in seasons]
    with cluster() as client:  # a process on each core
        fill_past(archive, area, (f"{seasons[0]}", f"{seasons[-1]}"), recipe, client)
        summary = run(archive, steps(archive, rounds, catalog=str(catalog)), client)
    url = archive.url
    print(f"{summary.done} passes mapped, {summary.skipped} skipped, {summary.failed} failed")
else:
    truth, url = None, "s3://bucket/archive"
    bbox = (3.00, 50.80, 3.05, 50.83)

ds = gssm.open_archive(url, bbox=bbox, variables=["soil_moisture", "quality_flag"]).load()
dict(ds.sizes), sorted(set(ds["time"].dt.year.values.tolist()))

# %% [markdown]
# ## Climatology
#
# Of each date of the year that is asked about: all dates of the *other* years within 20 days of
# the same day of the year, pixel by pixel. Their mean, standard deviation and number. Dates of
# one year that are 12 days apart are not independent, so that the number of years is told beside
# the number of values.

# %%
WINDOW = 20  # days to either side


def climatology(moisture, date):
    """Values of other years around the same day of the year."""
    away = (moisture["time"].dt.dayofyear - pd.Timestamp(date).dayofyear + 183) % 366 - 183
    other = moisture["time"].dt.year != pd.Timestamp(date).year
    return moisture.sel(time=other & (np.abs(away) <= WINDOW))


def anomaly(moisture, date):
    """Standard deviations from the mean, and the percentile (Weibull: rank / (N + 1))."""
    past, now = climatology(moisture, date), moisture.sel(time=date)
    deviations = (now - past.mean("time")) / past.std("time", ddof=1)
    rank = (past < now).sum("time") + 1  # 1 is drier than all
    percentile = 100 * rank / (past.notnull().sum("time") + 1)
    years = len(set(past["time"].dt.year.values.tolist()))
    return deviations, percentile.where(now.notnull()), past.sizes["time"], years


def region(moisture):
    """The mean of the place, as a series."""
    return moisture.mean(("y", "x"))


dates = ds["time"].values[ds["time"].dt.year == YEAR]


def table_of(moisture):
    rows = []
    for date in dates:
        deviations, percentile, number, years = anomaly(region(moisture), date)
        rows.append(
            {
                "date": date,
                "mean": region(moisture).sel(time=date).item(),
                "sd": deviations.item(),
                "percentile": percentile.item(),
                "values": number,
                "years": years,
            }
        )
    return pd.DataFrame(rows).set_index("date")


said = table_of(ds["soil_moisture"])
if truth is not None:
    # At the pixels and dates that the archive has.
    known = truth.sel(time=ds["time"], method="nearest").assign_coords(time=ds["time"].values)
    known = known.reindex(y=ds["y"], x=ds["x"])
    true = table_of(known)
    said = said.join(true[["mean", "sd", "percentile"]].add_suffix(", truth"))
said.round(2)

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
shown = {"predicted": ds["soil_moisture"]} | ({} if truth is None else {"truth": known})
for ax, (title, array) in zip(axes, shown.items(), strict=False):
    mean = region(array).to_series()
    for year, values in mean.groupby(mean.index.year):
        style = {"color": "tab:red", "linewidth": 2.5} if year == YEAR else {"color": "0.7"}
        ax.plot(values.index.dayofyear, values, marker=".", label=str(year), **style)
    ax.set(title=title, xlabel="day of the year", ylabel="mean soil moisture [m3 m-3]")
    ax.legend(fontsize=7)

# %% [markdown]
# **What is seen in the simulation.** Look at the two axes: the true anomaly is −0.10 m3 m-3, that
# of the maps −0.01, a tenth. As all years are flattened alike, standard deviations and
# percentiles still tell: in July, 2023 is the driest of the five years in both. But the maps are
# late (−0.9 in June, where the truth has −4.7), and they follow the plants as well as the soil:
# the same drought without wilting gave −0.6, −1.8, −1.4 and −3.3 in place of −0.9, −2.9, −2.6 and
# −4.7 (a run of its own). So it is an anomaly of what the satellites see, and its size in m3 m-3
# means nothing here.
#
# ## A map of one date
#
# In standard deviations. Pixels with few values in the climatology mean little: their number is
# the third map.

# %%
driest = said["sd"].idxmin()
deviations, percentile, number, years = anomaly(ds["soil_moisture"], driest)
maps = {
    f"{driest:%Y-%m-%d}, standard deviations": (
        deviations,
        {"vmin": -3, "vmax": 3, "cmap": "BrBG"},
    ),
    f"percentile ({years} years)": (percentile, {"vmin": 0, "vmax": 100, "cmap": "BrBG"}),
    "values in the climatology": (
        climatology(ds["soil_moisture"], driest).notnull().sum("time"),
        {},
    ),
}
if truth is not None:
    true_map = anomaly(known, driest)[0].where(deviations.notnull())
    maps["truth, standard deviations"] = (true_map, {"vmin": -3, "vmax": 3, "cmap": "BrBG"})
figure, axes = plt.subplots(1, len(maps), figsize=(4 * len(maps), 3.4), layout="constrained")
for ax, (title, (array, style)) in zip(axes, maps.items(), strict=True):
    array.plot.imshow(ax=ax, cbar_kwargs={"label": ""}, **style)
    ax.set(title=title, xlabel="", ylabel="", xticks=[], yticks=[])

# %%
lowest = float((percentile == percentile.min()).mean())
print(f"share of pixels drier than each of the {number} values: {lowest:.2f}")
print(f"lowest percentile that {number} values can tell: {100 / (number + 1):.0f}")
