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
# # A model of your own stations
#
# **Shows** the way from a download of the International Soil Moisture Network (ISMN) to a model
# and a map: read, sample, train, score by station, predict.
#
# **Cannot show** a good model. There are a dozen simulated stations and the smallest preset, so
# that it takes seconds. What the scores mean is the same with real ones.
#
# One line, `SIMULATED = False`, takes your own download.

# %%
import tempfile
from pathlib import Path

import pandas as pd
import shapely

import gssm

SIMULATED = True
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# The simulation has six farms 5 km apart (stations within 2 km count as one place), each with
# weather of its own and two stations. Each farm is a network here, with a catalogue of its own;
# real catalogues know all places.

# %%
if SIMULATED:
    from gssm.simulate_events import field_outlines, simulate_events, simulate_rain
    from gssm.simulate_stations import simulate_stations, write_ismn

    hours = pd.date_range("2023-06-01", "2023-07-31", freq="6h")
    catalogs, measures = {}, []
    for n in range(6):
        corner = (501_360.0 + 5_040 * n, 5_629_680.0)
        story = {
            "size": 30,
            "seed": n,
            "corner": corner,
            "rain": simulate_rain("2023-03-01", "2023-07-31", seed=n),
        }
        catalogs[f"FARM{n}"] = folder / f"catalogue-{n}"
        simulate_events(catalogs[f"FARM{n}"], schedule=10, **story)
        outlines = field_outlines(size=30, seed=n, corner=corner)["features"][:2]
        inner = [shapely.geometry.shape(one["geometry"]).representative_point() for one in outlines]
        places = {f"Field{k}": (point.x, point.y) for k, point in enumerate(inner)}
        measures.append(simulate_stations(places, hours, network=f"FARM{n}", **story))
    download = write_ismn(pd.concat(measures), folder / "Data_separate_files")
else:
    download, catalogs = "Data_separate_files.zip", {None: "planetary-computer"}

# %% [markdown]
# ## Read

# %%
measured = gssm.read_ismn(download)
print(measured.attrs["dropped"])
measured.groupby(["network", "station"])["soil_moisture"].agg(
    ["size", "min", "median", "max"]
).round(3)

# %% [markdown]
# ## Sample
#
# Each radar pass is joined with the nearest measurement within 12 hours; the pixel comes through
# the very stages that make a map. It can be interrupted and goes on where it was. Here each farm
# has a catalogue of its own; a real one knows all places, and one call is enough.

# %%
tables = []
for network, catalog in catalogs.items():
    here = measured if network is None else measured[measured["network"] == network]
    path = folder / f"samples-{network}.parquet"
    gssm.build_samples(here, catalog, out=path)
    tables.append(gssm.read_samples(path))
samples = gssm.concat_samples(tables)
print(f"{len(samples)} rows of {samples.groupby(['network', 'station']).ngroups} stations")
samples[["network", "station", "time", "soil_moisture", "vv", "vh", "s2_b4", "s2_b8"]].head()

# %% [markdown]
# ## Train
#
# One network is put aside, to be asked at the end. The others teach; the scores in the card come
# from five folds of whole stations. `preset="tiny"` is for trying out; leave it away for a model
# to use.

# %%
MEMBERS = ("random_forest", "xgboost")  # TabNet learns nothing from a hundred rows
networks = sorted(samples["network"].unique())
aside = samples[samples["network"] == networks[-1]]
model = gssm.train(samples, networks=networks[:-1], preset="tiny", spec="l2", members=MEMBERS)
pd.DataFrame(model.provenance["skill"][0]["scores"]).T.round(3)

# %% [markdown]
# An R² below zero is worse than the mean of all stations: with ten stations on simulated fields
# there is nothing else to expect. `station_r` and the like need 20 rows at a station.
#
# ## Score by station, at stations that it has never seen

# %%
gssm.evaluate(model, aside).T.round(3)

# %%
from gssm.training.evaluate import station_table

predicted = gssm.cross_validate(
    samples, protocol="station", preset="tiny", spec="l2", members=MEMBERS
)
station_table(predicted)[["N", "bias", "ubrmse", "r"]].round(3)

# %% [markdown]
# ## Keep it, and predict with it

# %%
model.save(folder / "my-model")
catalog = catalogs[networks[-1]] if SIMULATED else catalogs[None]
longitude, latitude = aside[["longitude", "latitude"]].iloc[0]
bbox = (longitude - 0.0012, latitude - 0.0008, longitude + 0.0012, latitude + 0.0008)
items = gssm.search(bbox, "2023-06-01/2023-06-09", catalog=catalog)
sm = gssm.predict(gssm.open_cube(items, bbox=bbox), folder / "my-model").compute()
sm.gssm.plot()
