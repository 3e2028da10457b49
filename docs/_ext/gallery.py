"""The pictures of the gallery: a simulated scene, mapped while the site is built."""

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

SIZE, DATES, SEED = 120, 10, 0
# West, south, east, north of a part of the scene, degrees.
BBOX = (3.0201, 50.8085, 3.0355, 50.8183)
PERIOD = "2023-06/2023-09"
# Of the date that the maps show.
SHOWN = 0
FLAGS_SHOWN = ("cloud_or_shadow", "vegetation_dominates_radar", "water")
DPI = 100


def draw_gallery(folder: Path) -> None:
    """Draw every picture into a folder."""
    cube, product, truth = _mapped()
    for name, draw in PICTURES.items():
        figure = draw(cube, product, truth)
        figure.savefig(folder / name, dpi=DPI)
        _close(figure)


def _mapped() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Simulate, search, open and predict, as a user does; everything in memory."""
    import gssm
    from gssm.simulate import simulate_scene

    with tempfile.TemporaryDirectory() as place:
        truth = simulate_scene(Path(place) / "catalogue", size=SIZE, dates=DATES, seed=SEED)
        items = gssm.search(BBOX, PERIOD, catalog=Path(place) / "catalogue")
        cube = gssm.open_cube(items, bbox=BBOX)
        past = gssm.history(items, bbox=BBOX).compute()
        product = gssm.predict(gssm.with_history(cube, past)).compute()
        names = ["vv", "vh", "incidence_angle", "s2_b2", "s2_b3", "s2_b4", "s2_b8", "s2_age"]
        cube = gssm.correct(cube[names]).isel(time=[SHOWN]).compute()
    return cube, product, truth.reindex_like(product["soil_moisture"])


def _axes(columns: int, rows: int = 1):
    import matplotlib.pyplot as plt

    size = (3.6 * columns, 3.5 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    return figure, axes


def _close(figure) -> None:
    import matplotlib.pyplot as plt

    plt.close(figure)


def _show(ax, values, title: str, label: str = "", **style) -> None:
    image = ax.imshow(values, interpolation="nearest", **style)
    ax.set_title(title, fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])
    if label:
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)


def inputs(cube: xr.Dataset, product: xr.Dataset, truth: xr.Dataset):
    """Draw what the sensors see on one date."""
    from gssm.physics import linear_to_decibel

    one = cube.isel(time=0)
    figure, axes = _axes(3)
    _show(axes[0, 0], linear_to_decibel(one.vv.values), "Sentinel-1 VV", "dB", cmap="gray")
    bands = np.stack([one[f"s2_b{band}"].values for band in (4, 3, 2)], axis=-1)
    colour = np.nan_to_num(np.clip(bands / 0.3, 0, 1) ** (1 / 1.5), nan=0.85)
    _show(axes[0, 1], colour, "Sentinel-2, colour")
    _show(axes[0, 2], one.s2_age.values, "age of the Sentinel-2 pixel", "days", cmap="RdBu")
    return figure


def correction(cube: xr.Dataset, product: xr.Dataset, truth: xr.Dataset):
    """Draw the radar before and after the Water Cloud Model, and the vegetation."""
    from gssm.physics import linear_to_decibel, normalized_difference

    one = cube.isel(time=0)
    figure, axes = _axes(3)
    ndvi = normalized_difference(one.s2_b8.values, one.s2_b4.values)
    limits = {"vmin": -22, "vmax": -4, "cmap": "viridis"}
    _show(axes[0, 0], linear_to_decibel(one.vv.values), "VV as measured", "dB", **limits)
    _show(axes[0, 1], ndvi, "NDVI", "1", cmap="YlGn", vmin=0, vmax=1)
    _show(axes[0, 2], one.vv_soil.values, "VV of the soil (equation 6)", "dB", **limits)
    return figure


def product_maps(cube: xr.Dataset, product: xr.Dataset, truth: xr.Dataset):
    """Draw the product of one date beside the truth of the simulation."""
    from gssm.plot import soil_moisture_colours

    colours, norm = soil_moisture_colours()
    style = {"cmap": colours, "norm": norm}
    one = product.isel(time=SHOWN)
    figure, axes = _axes(3)
    _show(axes[0, 0], one.soil_moisture.values, "soil moisture", "m³ m⁻³", **style)
    known = truth.soil_moisture.isel(time=SHOWN).values
    _show(axes[0, 1], known, "the simulated truth", "m³ m⁻³", **style)
    width = one.soil_moisture_uncertainty.values
    _show(axes[0, 2], width, "half-width of the 90 % interval", "m³ m⁻³", cmap="magma")
    return figure


def flags(cube: xr.Dataset, product: xr.Dataset, truth: xr.Dataset):
    """Draw where each flag of one date is set."""
    from gssm.quality import BY_MEANING

    values = product.quality_flag.isel(time=SHOWN).values
    figure, axes = _axes(3)
    for ax, meaning in zip(axes[0], FLAGS_SHOWN, strict=True):
        flag = BY_MEANING[meaning]
        is_set = (values & flag.mask) != 0
        kept = "keeps its value" if flag.keeps_value else "no value"
        title = f"{flag.meaning}\n{is_set.mean():.0%} of the pixels; {kept}"
        _show(ax, is_set, title, cmap="Greys", vmin=0, vmax=1.4)
    return figure


def series(cube: xr.Dataset, product: xr.Dataset, truth: xr.Dataset):
    """Draw all dates of one pixel, with the interval and the truth."""
    import matplotlib.pyplot as plt

    counts = product.soil_moisture.notnull().sum("time").values
    row, column = np.unravel_index(np.argmax(counts), counts.shape)
    one = product.isel(y=row, x=column)
    figure, ax = plt.subplots(figsize=(9, 3.2), layout="constrained")
    width = one.soil_moisture_uncertainty.values
    ax.errorbar(
        one.time.values, one.soil_moisture.values, yerr=width, fmt="o", capsize=3, label="gssm"
    )
    known = truth.soil_moisture.isel(y=row, x=column)
    ax.plot(known.time.values, known.values, "k--", lw=1, label="the simulated truth")
    ax.set(ylabel="soil moisture [m³ m⁻³]", ylim=(0, 0.6), title="All dates of one pixel")
    ax.legend(frameon=False, fontsize=9)
    return figure


PICTURES = {
    "inputs.png": inputs,
    "correction.png": correction,
    "product.png": product_maps,
    "flags.png": flags,
    "series.png": series,
}
