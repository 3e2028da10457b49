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
# # Wetness before, during and after a flood
#
# **Shows** maps of the three, what gssm says of open water, and where it says nothing.
#
# **Cannot show** the flood itself. gssm maps moisture of soil: open water has no value, and what
# it takes for open water is what an *optical* image within three days showed as water. A flood
# comes with clouds and may be gone before the next clear image. Then calm water, which is dark to
# the radar, looks like dry soil to the model. 15 June below is such a case.
#
# One line, `SIMULATED = False`, takes a real place.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display

import gssm
from gssm.physics import linear_to_decibel
from gssm.plot import plot_map
from gssm.quality import BY_MEANING

SIMULATED = True
# m3 m-3, of the soil there: the most water that it can hold. It has to come from you.
POROSITY = 0.45

# %%
if SIMULATED:
    from gssm.simulate_events import flood, simulate_events

    catalog = Path(tempfile.mkdtemp()) / "catalogue"
    bbox, period = (3.0200, 50.8100, 3.0330, 50.8183), "2023-06-01/2023-06-28"
    # Metres above the river: a flash flood of a day, then one of days.
    levels = {"2023-06-14": 0, "2023-06-15": 2, "2023-06-15T20": 2, "2023-06-16T06": 0}
    levels |= {"2023-06-18": 0, "2023-06-19": 2, "2023-06-21T12": 2, "2023-06-23": 0}
    truth = simulate_events(catalog, [flood(levels)], schedule=5)
else:
    catalog, truth = "planetary-computer", None
    bbox, period = (5.95, 51.16, 6.00, 51.20), "2021-07-05/2021-07-30"

# %% [markdown]
# In the simulation the river rises twice by 2 m and covers the low ground, calm and with no plant
# standing out. The first flood lasts a day and is gone when the next image of Sentinel-2 is
# taken, the second is seen by two. Ground that the water left is as wet as soil gets here (0.42)
# and drains with 8 days.

# %%
items = gssm.search(bbox, period, catalog=catalog)
cube = gssm.open_cube(items, bbox=bbox)
sm = gssm.predict(cube).compute()
moisture = sm["soil_moisture"]
flagged = (sm["quality_flag"] & BY_MEANING["water"].mask) != 0

rows = 1 if truth is None else 2
steps = sm.sizes["time"]
figure, axes = plt.subplots(
    rows, steps, figsize=(3.2 * steps, 3.4 * rows), layout="constrained", squeeze=False
)
for step in range(steps):
    plot_map(sm, time=step, ax=axes[0, step], legend=False)
    if truth is not None:
        known = truth.sel(time=sm["time"]).reindex_like(sm)
        shown = known[["soil_moisture"]].assign(
            quality_flag=(known["water"].fillna(False).astype("uint16") * BY_MEANING["water"].mask)
        )
        plot_map(shown, time=step, ax=axes[1, step], legend=False)
for ax in axes.flat:
    ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
figure.colorbar(axes[0, 0].images[0], ax=axes, label="soil moisture [m3 m-3]", shrink=0.8)
axes[0, 0].set_ylabel("predicted")
if truth is not None:
    axes[1, 0].set_ylabel("simulated truth")

# %% [markdown]
# Dark blue is water, by the flag above and by the truth below.
#
# ## What became of the water
#
# `under water`: share of all pixels that is. `flagged`: share of these that gssm flags, which
# have no value. `has a value`: share of these that got a soil moisture all the same, and `mean
# value` what it was.

# %%
if truth is not None:
    wet = known["water"].fillna(False).astype(bool)
    table = pd.DataFrame(
        {
            "under water": wet.mean(("y", "x")).to_series(),
            "flagged": flagged.where(wet).mean(("y", "x")).to_series(),
            "has a value": moisture.notnull().where(wet).mean(("y", "x")).to_series(),
            "mean value": moisture.where(wet).mean(("y", "x")).to_series(),
            "mean of land, predicted": moisture.where(~wet).mean(("y", "x")).to_series(),
            "mean of land, truth": known["soil_moisture"].where(~wet).mean(("y", "x")).to_series(),
        }
    )
    display(table.round(3))

# %% [markdown]
# So **gssm does not detect open water that the optical mask misses**, and gives such pixels a
# value that has no meaning: on 15 June 81 % of the water has one, 0.16 on average, drier than the
# land beside it. On 20 June, with images of the day before and the day after, 97 % is flagged.
# (Of the river itself, narrow beside the 20 m pixels of the mask, some always has a value.) On 27
# June the land, rained on and just left by the water, is wetter in the truth than on 3 June by
# 0.04; the maps say drier by 0.01. Before you use a map of a flood, look at the radar itself.
#
# ## A look at the radar
#
# Not a part of gssm, and no flood map: a pixel is suspect if VV fell by more than 3 dB, averaged
# over 3 x 3 pixels, below the first pass of the same orbit, which was dry. It takes wind on
# water, harvests and radar shadow for what they are not; flooded trees become brighter, not
# darker.

# %%
vv = linear_to_decibel(cube["vv"].rolling(y=3, x=3, center=True, min_periods=1).mean().compute())
vv = cube["vv"].copy(data=vv)
reference = {
    int(orbit): vv.isel(time=int(np.flatnonzero(sm["relative_orbit"] == orbit)[0]))
    for orbit in np.unique(sm["relative_orbit"])
}
fall = vv.copy(
    data=np.stack(
        [
            vv.values[n] - reference[int(orbit)].values
            for n, orbit in enumerate(sm["relative_orbit"])
        ]
    )
)
suspect = (fall < -3) & moisture.notnull()
moisture_kept = moisture.where(~suspect)
if truth is not None:
    missed = wet & moisture.notnull()
    both = pd.DataFrame(
        {
            "missed water": missed.sum(("y", "x")).to_series(),
            "of it suspect": (missed & suspect).sum(("y", "x")).to_series(),
            "suspect on land": (suspect & ~wet).sum(("y", "x")).to_series(),
        }
    )
    display(both)

# %% [markdown]
# ## Saturation
#
# Soil moisture cannot exceed the porosity. The degree of saturation is moisture over porosity,
# and as good as that number. The model does not know the porosity and says what soils of its
# stations had; a forest of trees gives no value beyond those that it learnt, so that full
# saturation is hardly ever said.

# %%
saturation = moisture_kept / POROSITY
told = pd.DataFrame(
    {
        "mean saturation": saturation.mean(("y", "x")).to_series(),
        "wettest pixel": saturation.max(("y", "x")).to_series(),
        "share above 0.8": (saturation > 0.8)
        .where(saturation.notnull())
        .mean(("y", "x"))
        .to_series(),
        "above the porosity": (saturation > 1).sum(("y", "x")).to_series(),
    }
)
if truth is not None:
    true = known["soil_moisture"] / POROSITY
    told["share above 0.8, truth"] = (true > 0.8).where(true.notnull()).mean(("y", "x")).to_series()
told.round(3)

# %% [markdown]
# On 27 June a quarter of the ground is above 0.8 of saturation in the truth, and no pixel in the
# maps. So these maps are no sign that a soil is *not* saturated.
