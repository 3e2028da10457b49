"""The whole line on a simulated scene, through the calls that a user makes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from gssm.align import open_cube
from gssm.archive.store import to_zarr
from gssm.errors import StoreExistsError
from gssm.plot import plot_map
from gssm.predict import predict
from gssm.search import search
from gssm.simulate import simulate_scene
from gssm.summary import summarize

MARKER = ".gssm-demo"


@dataclass(frozen=True)
class Demo:
    """What the demo made: its table, its store and its picture."""

    table: pd.DataFrame
    store: Path
    picture: Path
    bbox: tuple[float, float, float, float]


def run_demo(
    folder: str | Path = "gssm-demo",
    *,
    size: int = 200,
    seed: int = 0,
    model: str | Path = "default",
) -> Demo:
    """Simulate a scene, map it like any user's data and compare with the known truth.

    Parameters
    ----------
    folder
        Gets the catalogue, the Zarr store and the picture. A folder of an earlier
        demo is replaced; any other folder is refused.
    size
        Side of the scene in pixels of 10 m.
    seed
        Of the simulation.
    model
        ``"default"`` or the path of a bundle.
    """
    folder = Path(folder)
    _prepare(folder)
    truth = simulate_scene(folder / "catalogue", size=size, seed=seed)
    bbox = _bbox(truth)
    times = pd.DatetimeIndex(truth["time"].values)
    dates = f"{times.min():%Y-%m-%d}/{times.max():%Y-%m-%d}"

    items = search(bbox, dates, catalog=folder / "catalogue")
    cube = open_cube(items, bbox=bbox)
    product = predict(cube, model)
    store = folder / "soil_moisture.zarr"
    to_zarr(product, store)

    with xr.open_zarr(store, consolidated=False) as written:
        result = written.load()
    known = truth["soil_moisture"].reindex_like(result["soil_moisture"])
    table = summarize(result, known)
    picture = folder / "soil_moisture.png"
    _draw(result, known, picture)
    return Demo(table, store, picture, bbox)


def _prepare(folder: Path) -> None:
    if folder.exists():
        if not (folder / MARKER).exists() and any(folder.iterdir()):
            raise StoreExistsError(
                f"{folder} exists and is not of an earlier demo; give another folder with --out."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("Made by `gssm demo`, which replaces this folder.\n")


def _bbox(truth: xr.Dataset) -> tuple[float, float, float, float]:
    """Box in degrees that lies well inside the scene: its outermost pixels stay out."""
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(truth.attrs["crs"], "EPSG:4326", always_xy=True)
    x, y = truth["x"].values, truth["y"].values
    corners = to_degrees.transform([x.min(), x.max()], [y.min(), y.max()])
    (west, east), (south, north) = corners
    return (west, south, east, north)


def _draw(result: xr.Dataset, known: xr.DataArray, picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    steps = result.sizes["time"]
    figure, axes = plt.subplots(
        2, steps, figsize=(3.4 * steps, 6.6), layout="constrained", sharex=True, sharey=True
    )
    axes = axes.reshape(2, steps)
    truth = xr.Dataset({"soil_moisture": known, "quality_flag": result["quality_flag"]})
    for row, (dataset, label) in enumerate(((result, "predicted"), (truth, "simulated truth"))):
        for step in range(steps):
            ax = plot_map(dataset, time=step, ax=axes[row, step], legend=False)
            ax.set_title(f"{label}\n{ax.get_title()}", fontsize=9)
            ax.label_outer()
            ax.tick_params(labelsize=7)
            ax.xaxis.set_major_locator(MaxNLocator(3))
    image = axes[0, 0].images[0]
    figure.colorbar(image, ax=axes, label="soil moisture [m3 m-3]", shrink=0.8)
    figure.suptitle("gssm demo: surface soil moisture, 0-5 cm; dark blue water, grey no value")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
