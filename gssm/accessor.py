"""``ds.gssm``: the public functions as methods of an xarray Dataset. No state, no scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    from matplotlib.axes import Axes

    from gssm.models.ensemble import Model
    from gssm.physics import WaterCloud
    from gssm.schema import FeatureSpec


class GssmAccessor:
    """Methods of ``ds.gssm``; each is the function of the same name in `gssm`."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def correct(self, water_cloud: WaterCloud | None = None) -> xr.Dataset:
        """See `gssm.correct`."""
        from gssm.correct import correct

        return correct(self._dataset, water_cloud)

    def build_features(
        self, spec: str | FeatureSpec = "l2", water_cloud: WaterCloud | None = None
    ) -> xr.Dataset:
        """See `gssm.build_features`."""
        from gssm.features import build_features

        return build_features(self._dataset, spec, water_cloud)

    def predict(
        self, model: str | Path | Model = "default", *, members: bool = False
    ) -> xr.Dataset:
        """See `gssm.predict`."""
        from gssm.predict import predict

        return predict(self._dataset, model, members=members)

    def to_zarr(self, store: Any, *, overwrite: bool = False, max_failed: float = 1.0) -> None:
        """See `gssm.to_zarr`."""
        from gssm.archive.store import to_zarr

        to_zarr(self._dataset, store, overwrite=overwrite, max_failed=max_failed)

    def plot(
        self, variable: str = "soil_moisture", *, time: int | str | date | np.datetime64 = 0
    ) -> Axes:
        """See `gssm.plot.plot_map`."""
        from gssm.plot import plot_map

        return plot_map(self._dataset, variable, time=time)


def register() -> None:
    """Attach the accessor to xarray, once."""
    if not hasattr(xr.Dataset, "gssm"):
        xr.register_dataset_accessor("gssm")(GssmAccessor)
