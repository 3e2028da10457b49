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
# # On a cluster
#
# **Shows** how the same calls run on a Dask cluster, how the archive commands take one, and how
# to find a size for it.
#
# **Cannot show** the speed of a cluster: two processes of this machine stand for one, and a scene
# of a kilometre for a country. The figures that hold are in docs/speed.md and docs/archive.md.
#
# One line, `SIMULATED = False`, takes a real catalogue and the scheduler of a cluster of yours.

# %%
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import distributed
import numpy as np
import pandas as pd
import xarray as xr

import gssm

SIMULATED = True
folder = Path(tempfile.mkdtemp())

# %%
if SIMULATED:
    from gssm.simulate import simulate_scene

    catalog, bbox, period = folder / "catalogue", (3.0200, 50.8100, 3.0330, 50.8183), "2023-06"
    simulate_scene(catalog, size=100, dates=4)
    cluster = distributed.LocalCluster(
        host="127.0.0.1",
        n_workers=2,
        threads_per_worker=1,
        memory_limit="2GB",
        dashboard_address="127.0.0.1:0",
    )
else:
    catalog, bbox, period = "planetary-computer", (2.5, 50.7, 5.9, 51.5), "2023-06"
    cluster = "tls://10.0.0.1:8786"

# %% [markdown]
# Any cluster that gives a client will do:
#
# ```python
# gateway = dask_gateway.Gateway(); cluster = gateway.new_cluster(options); cluster.scale(200)
# cluster = dask_jobqueue.SLURMCluster(cores=32, processes=32, ...); cluster.scale(jobs=8)
# cluster = dask_kubernetes.operator.KubeCluster(name="gssm", image="...", n_workers=200)
# ```
#
# docs/archive.md has them whole, with what they need for security. **A scheduler runs whatever
# those who reach it send**: keep it, its workers and its dashboard in a private network, with
# TLS.

# %%
client = distributed.Client(cluster)
print("progress of every task in the browser:", client.dashboard_link)
pd.DataFrame(client.scheduler_info()["workers"]).T[["nthreads", "memory_limit"]]

# %% [markdown]
# ## A map on the cluster
#
# The active client is taken, nothing else changes. What is sent is a graph with the address of
# the model, not the model; workers read the images themselves, so that they must see catalogue
# and store.
#
# **Chunks**: each task holds one chunk. 1024 x 1024 pixels of two dates take about 1 GB for each
# thread at its peak, the default; half the side, a quarter of it. A chunk is the smallest piece
# of work: have some for each thread; this scene has one for each date.

# %%
items = gssm.search(bbox, period, catalog=catalog)
cube = gssm.open_cube(items, bbox=bbox, chunks={"y": 512, "x": 512})
sm = gssm.predict(cube)
started = time.monotonic()
gssm.to_zarr(sm, folder / "soil_moisture.zarr")
seconds = time.monotonic() - started
pixels = sm["soil_moisture"].size
chunks = int(np.prod([len(sizes) for sizes in sm["soil_moisture"].chunks]))
print(f"{pixels} pixels in {chunks} chunks in {seconds:.1f} s")

# %% [markdown]
# That is a tiny scene, whose seconds are those of starting: each worker loads libraries and model
# once. A second run in the same processes tells more, and still not what large chunks do.

# %%
started = time.monotonic()
gssm.to_zarr(sm, folder / "again.zarr")
print(f"again: {time.monotonic() - started:.1f} s")
xr.open_zarr(folder / "again.zarr", consolidated=False).gssm.plot()

# %% [markdown]
# ## An archive on the cluster
#
# The commands take the address of a scheduler; without one they start a process for each core of
# this machine. Before anything is done, `--dry-run` says what it comes to.


# %%
def gssm_command(*words):
    """What you would type after `gssm` in a shell."""
    # A notebook asks for colours; in a pipe they would be noise.
    environment = {name: value for name, value in os.environ.items() if "FORCE_COLOR" not in name}
    command = [sys.executable, "-m", "gssm.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    print(done.stdout if done.returncode == 0 else done.stderr)
    done.check_returncode()


scheduler = client.scheduler.address
box = " ".join(map(str, bbox))
build = [
    "archive",
    "build",
    "--archive",
    folder / "archive",
    "--aoi",
    box,
    "--datetime",
    period,
    "--catalog",
    catalog,
]
small = ["--chunk", 100] if SIMULATED else []  # the default, 1000, is for real areas
gssm_command(*build, *small, "--dry-run", "--rate", 0.05)

# %%
gssm_command(*build, *small, "--scheduler", scheduler)

# %%
gssm_command("archive", "status", "--archive", folder / "archive")

# %% [markdown]
# ## How large?
#
# From what was measured on one core of 2.5 GHz with the data at hand (docs/speed.md): 174 000
# pixels a second with references of the past. A network that is slower than that decides instead:
# a pixel is 21 bytes to read.

# %%
SPEED, BYTES, THREAD_GB, PROCESS_GB = 174_000, 21, 1.0, 0.6


def size_of(square_km, passes, hours):
    """Cores, memory and network for so many passes over an area within some hours."""
    number = square_km * 1e4 * passes
    cores = int(np.ceil(number / SPEED / 3600 / hours))
    return {
        "pixels [1e9]": number / 1e9,
        "core-hours": number / SPEED / 3600,
        "cores": cores,
        "memory [GB]": cores * (THREAD_GB + PROCESS_GB),
        "network [MB/s]": number * BYTES / hours / 3600 / 1e6,
        "archive [GB]": number * 3.2 / 1e9,
    }


pd.DataFrame(
    {
        "a farm, a year, 1 h": size_of(25, 120, 1),
        "Flanders, a year, 8 h": size_of(13_600, 120, 8),
        "France, a year, 24 h": size_of(544_000, 120, 24),
    }
).round(2)

# %%
client.close()
if SIMULATED:
    cluster.close()
