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
# # Soil moisture of a place in five lines
#
# This notebook needs no account and no network: it simulates two kilometres of
# farmland, with fields, a river, clouds and a soil moisture that is known, writes it
# as a catalogue like those of the satellite providers, and maps it like any real place.
#
# For a real place, change one line: `catalog = "planetary-computer"` (or the URL of a
# STAC API), with a `bbox` and dates of your own.

# %%
import tempfile
from pathlib import Path

import gssm
from gssm.simulate import simulate_scene

catalog = Path(tempfile.mkdtemp()) / "catalogue"
truth = simulate_scene(catalog)

# %% [markdown]
# ## Which dates are there?
#
# Every row is a radar acquisition; the map of a date needs a Sentinel-2 image close in
# time (for the vegetation), Landsat is welcome. Offsets are days, image minus radar.

# %%
bbox = (3.0200, 50.8015, 3.0470, 50.8185)
items = gssm.search(bbox, "2023-06", catalog=catalog)
dates = gssm.matchups(items, measure=True)
dates[["relative_orbit", "sentinel2_offset_days", "landsat_offset_days", "sentinel2_usable"]]

# %% [markdown]
# ## The cube
#
# One lazy xarray Dataset on one 10 m grid. No pixel has been read yet. Each optical
# pixel will come from the nearest image that shows it free of cloud; `s2_age` says how
# far away in time that was.

# %%
cube = gssm.open_cube(items, bbox=bbox)
cube

# %% [markdown]
# ## Soil moisture
#
# Still lazy: the vegetation is taken out of the radar (Water Cloud Model), the features
# are built and the ensemble scores them, chunk by chunk, when you ask for numbers.

# %%
sm = gssm.predict(cube)
sm = sm.compute()
sm

# %%
sm.gssm.plot(time=0)
# %% [markdown]
# ## Can it be trusted?
#
# Every pixel carries flags, and a pixel whose value would be meaningless (water, snow,
# a failed read) has none.

# %%
from gssm.summary import summarize

summarize(sm, truth["soil_moisture"].reindex_like(sm["soil_moisture"])).round(3)

# %% [markdown]
# The last columns compare with the simulated truth. The model learnt from real stations
# and has never seen a simulation, so they show that the line works, not how good the
# product is: that is in the model's own manifest, on stations that it had never seen.

# %%
gssm.load_model("default").provenance["skill"][0]["scores"]["soil_moisture"]

# %% [markdown]
# ## Keep it

# %%
store = catalog.parent / "soil_moisture.zarr"
gssm.to_zarr(sm, store)
