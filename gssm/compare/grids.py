"""Product against product: the fine averaged over the cells of the coarse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm.compare.canonical import SOIL_MOISTURE, check_product, grid_of
from gssm.compare.cells import product_series
from gssm.compare.matching import pair
from gssm.compare.observations import OBSERVED
from gssm.compare.options import check_draws
from gssm.compare.overlap import area_mean
from gssm.compare.report import Comparison, scored
from gssm.compare.sources import Source, name_products
from gssm.errors import CubeError, RequestError
from gssm.possible import REMEDY, impossible
from gssm.training.intervals import RESAMPLES


def compare_products(
    products: Mapping[str, xr.Dataset | xr.DataArray],
    reference: xr.Dataset | xr.DataArray,
    *,
    reference_name: str = "reference",
    window: str = "12h",
    min_valid: float = 0.5,
    flagged: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare products with a coarser one, cell by cell of it.

    Each product is averaged over the cells of the reference (`gssm.compare.overlap.area_mean`),
    which then stand in the place of stations: the scores say how far the products agree with
    the reference, whose own errors are among them.

    Parameters
    ----------
    products
        Name -> dataset with ``soil_moisture`` in m3 m-3, finer than the reference; the one in
        question first, whose dates are compared.
    reference
        The coarse product.
    reference_name
        What the report calls it.
    window
        As for `gssm.compare.report.compare`.
    min_valid
        Least share of a cell's area with values of a product.
    flagged
        Keep values of the reference that its own flags advise against.
    resamples, seed
        As for `gssm.training.intervals.with_intervals`: cells are drawn, which are less
        independent of each other than stations, so that intervals are too narrow.

    Returns
    -------
    Comparison
        Its ``observed`` is the reference, and its stations are cells (``cell/row-column``).

    Raises
    ------
    RequestError
        A product is coarser than the reference, or an option cannot be served.
    CubeError
        A product without units, in percent, or without a CRS; or a value of it below -0.1 or
        above 1.
    EmptySearchError
        They share no area, or no time within the window.
    """
    check_draws(resamples, seed)
    named = name_products(products)
    for name, product in named.items():
        if not isinstance(product, (xr.Dataset, xr.DataArray)):
            raise RequestError(
                f"product {name!r} is a {type(product).__name__}; give a dataset on a grid."
            )
    coarse = check_product(reference, reference_name)
    means = {
        name: area_mean(
            _in_range(_masked(product, flagged), name), coarse, min_valid=min_valid, name=name
        )
        for name, product in named.items()
        if isinstance(product, (xr.Dataset, xr.DataArray))
    }
    cells = _cells(coarse, means, reference_name)
    series, notes = product_series(coarse, cells, name=reference_name, flagged=flagged)
    rows = series.rename(columns={"value": OBSERVED}).assign(good=True, again=False)
    rows = rows.merge(cells, left_on="station", right_index=True)
    sources = [
        Source(name, by_time=product_series(mean, cells, name=name)[0], notes=notes)
        for name, mean in means.items()
    ]
    pairs, dropped = pair(rows, sources, window)
    dropped = {
        reason.replace("a measurement", reference_name): count
        for reason, count in dropped.items()
        if not reason.startswith("stations outside")
    }
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    return scored(tuple(named), pairs, dropped, reference=reference_name, **options)


def _masked(product: xr.Dataset | xr.DataArray, flagged: bool) -> xr.Dataset | xr.DataArray:
    """Take away what a product's own flags advise against."""
    if flagged or isinstance(product, xr.DataArray) or "recommended" not in product:
        return product
    attrs = product["soil_moisture"].attrs
    moisture = product["soil_moisture"].where(product["recommended"] == 1).assign_attrs(attrs)
    masked: xr.Dataset = product.assign(soil_moisture=moisture)
    return masked


def _in_range(product: xr.Dataset | xr.DataArray, name: str) -> xr.Dataset:
    """Refuse, when it is read, a value that would pass unseen into a mean."""
    dataset = check_product(product, name)

    def checked(values: NDArray[Any]) -> NDArray[Any]:
        wrong = impossible(values)
        if wrong.size:
            raise CubeError(
                f"soil_moisture of product {name!r} is {wrong[0]:g} somewhere, which is no m3 m-3: "
                f"{REMEDY}."
            )
        return values

    moisture = dataset[SOIL_MOISTURE]
    seen = xr.apply_ufunc(
        checked, moisture, dask="parallelized", output_dtypes=[moisture.dtype], keep_attrs=True
    )
    refused: xr.Dataset = dataset.assign({SOIL_MOISTURE: seen})
    return refused


def _cells(
    coarse: xr.Dataset, means: Mapping[str, xr.Dataset], reference_name: str
) -> pd.DataFrame:
    """Centres of the cells that every product touches, as places of stations."""
    from pyproj import Transformer

    grid = grid_of(coarse, reference_name)
    rows = np.flatnonzero([all(np.isin(y, m["y"].values) for m in means.values()) for y in grid.y])
    columns = np.flatnonzero(
        [all(np.isin(x, m["x"].values) for m in means.values()) for x in grid.x]
    )
    row, column = (v.ravel() for v in np.meshgrid(rows, columns, indexing="ij"))
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(grid.x[column], grid.y[row])
    names = [f"cell/{i}-{j}" for i, j in zip(row, column, strict=True)]
    table = pd.DataFrame({"longitude": lon, "latitude": lat}, index=names)
    table["longitude"] = (table["longitude"] + 180) % 360 - 180
    return table.rename_axis("station")
