"""Side by side: several products against the same measurements, as the paper's Tables 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gssm.compare.matching import pair
from gssm.compare.observations import observations
from gssm.compare.options import check_draws
from gssm.compare.paper import IN_SITU, as_text, paper_table
from gssm.compare.sources import METHODS, Places, Product, name_products, source_of
from gssm.errors import RequestError
from gssm.training.evaluate import station_table
from gssm.training.intervals import RESAMPLES, differences, with_intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Comparison:
    """Products against the same measurements.

    Parameters
    ----------
    products
        Their names, in the order given.
    pairs
        A row per measurement that has a value of every product: network, station, latitude,
        longitude, time, ``observed`` and a column per product (m3 m-3).
    table
        A row per product: ``N`` pairs, ``stations``, every metric of a model card, pooled and
        as the median over stations, all but ``spearman`` and ``kge`` with ``<score>_low`` and
        ``<score>_high``, the 95 % interval from resampling stations
        (`gssm.training.intervals.with_intervals`).
    differences
        A row per other product: scores of the first minus its scores, on the same rows and
        the same resamples (`gssm.training.intervals.differences`).
    dropped
        What was left out, by reason. Reasons that begin with "rows" (with "days" where daily
        means are compared) count what could have been a pair, each once.
    reference
        What ``observed`` is: measurements, or the name of a coarser product.
    """

    products: tuple[str, ...]
    pairs: pd.DataFrame
    table: pd.DataFrame
    differences: pd.DataFrame
    dropped: dict[str, int]
    reference: str = IN_SITU

    def __str__(self) -> str:
        return as_text(self)

    def paper_table(self) -> pd.DataFrame:
        """Return the shape of the paper's Table 4 (5, where there are few pairs)."""
        return paper_table(self)

    def stations(self, product: str | None = None) -> pd.DataFrame:
        """Return the scores of one product (the first) at each station.

        See `gssm.training.evaluate.station_table`.
        """
        return station_table(self.pairs, self._known(product))

    def collocation(
        self, systems: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
    ) -> pd.DataFrame:
        """Return the errors of three sources by triple collocation.

        ``systems`` names two products and ``"observed"``, or three products; see
        `gssm.compare.collocation.triple_collocation`.
        """
        from gssm.compare.collocation import triple_collocation

        return triple_collocation(self.pairs, systems, resamples=resamples, seed=seed)

    def scatter(self) -> Figure:
        """Draw every product against the measurements, a panel each."""
        from gssm.compare.figures import draw_scatter

        return draw_scatter(self)

    def map(self, metric: str = "r") -> Figure:
        """Draw a metric of every product at each station, in one scale of colours.

        Metrics are those of `gssm.training.evaluate.station_table`. There is a graticule and
        no background: gssm neither ships nor downloads one.
        """
        from gssm.compare.figures import draw_map

        return draw_map(self, metric)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write tables as CSV and figures as PNG to a new folder; see `gssm.compare.saving`."""
        from gssm.compare.saving import save

        return save(self, folder, overwrite=overwrite)

    def _known(self, product: str | None) -> str:
        name = self.products[0] if product is None else product
        if name not in self.products:
            raise RequestError(
                f"product {name!r} is not in this comparison; name one of "
                f"{', '.join(map(repr, self.products))}."
            )
        return name


def compare(
    products: Mapping[str, Product] | Sequence[str] | str,
    stations: pd.DataFrame,
    *,
    window: str = "12h",
    method: str = "cell",
    max_distance: float = 1000.0,
    flagged: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare soil moisture products with measurements, all on the same rows.

    Parameters
    ----------
    products
        Name -> product, the one in question first: a dataset on a grid with ``soil_moisture``
        in m3 m-3 (from `gssm.predict`, `gssm.open_product`); the pathlib.Path of a product's
        files or of an archive, or an archive's URL with ``://``; the name of a column of
        `stations`; or a `gssm.Model`, which scores the rows as a map of it would, except
        those of networks that taught it. A list of names stands for columns of these names.
    stations
        From `gssm.read_ismn`, `gssm.read_uscrn` or `gssm.read_samples`; or what
        `gssm.cross_validate` returns, whose ``observed`` is then the measurement.
    window
        Largest time between two values that are matched; or ``"daily"``, for means of UTC
        days. See `gssm.compare.matching.pair` for the rows.
    method
        ``"cell"``: the cell that holds the station; ``"nearest"``: where that never has a
        value, the nearest one that has.
    max_distance
        Metres from the station to the centre of the farthest ``"nearest"`` cell.
    flagged
        Keep values that a product's own flags advise against.
    resamples, seed
        As for `gssm.training.intervals.with_intervals`.

    Returns
    -------
    Comparison
        Its ``print`` is the paper's Table 4, or 5 where there are few pairs.

    Raises
    ------
    RequestError
        An option or product that cannot be served.
    SamplesError
        The table of stations cannot be used.
    CubeError
        A product without units, in percent, or without a CRS.
    EmptySearchError
        No measurement has a value of every product near enough in time and place.
    """
    if method not in METHODS:
        known = " or ".join(map(repr, METHODS))
        raise RequestError(f"there is no method {method!r} to choose a cell; use {known}.")
    if not isinstance(max_distance, (int, float, np.number)) or not 0 < max_distance < 1e6:
        raise RequestError(f"max_distance {max_distance!r} is no distance; give metres.")
    check_draws(resamples, seed)
    named = name_products(products)
    rows = observations(stations)
    how = Places(method, float(max_distance), flagged)
    sources = [source_of(name, product, stations, rows, how) for name, product in named.items()]
    pairs, dropped = pair(rows, sources, window)
    names = tuple(named)
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    return scored(names, pairs, dropped, **options)


def scored(
    names: tuple[str, ...],
    pairs: pd.DataFrame,
    dropped: dict[str, int],
    *,
    reference: str = IN_SITU,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Score pairs that are matched already: see `compare`."""
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    table = with_intervals(pairs, names, **options)
    others = differences(pairs, names[1:], names[0], **options)
    return Comparison(names, pairs, table, others, dropped, reference)
