"""gssm: surface soil moisture at 10 m from Sentinel-1, Sentinel-2, Landsat and elevation.

The whole line in five lines::

    import gssm
    items = gssm.search(bbox, "2018-05-01/2018-09-30", catalog="planetary-computer")
    cube = gssm.open_cube(items, bbox=bbox)
    sm = gssm.predict(cube)
    gssm.to_zarr(sm, "soil_moisture.zarr")

Importing gssm loads xarray and nothing heavy; each verb brings what it needs. The
only side effect is the accessor ``ds.gssm`` on xarray datasets.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gssm import accessor as _accessor

if TYPE_CHECKING:
    from gssm.align import open_cube
    from gssm.archive.export import export
    from gssm.archive.reading import open_archive
    from gssm.archive.series import point_series, polygon_series
    from gssm.archive.store import to_zarr
    from gssm.checks.report import check
    from gssm.compare.opening import open_product
    from gssm.compare.report import compare
    from gssm.correct import correct
    from gssm.errors import GssmError, GssmWarning
    from gssm.features import build_features
    from gssm.history import history, with_history
    from gssm.matchups import matchups
    from gssm.models.bundle import load_model
    from gssm.models.ensemble import Model
    from gssm.physics import WaterCloud
    from gssm.predict import predict
    from gssm.records import read_record
    from gssm.schema import FeatureSpec
    from gssm.search import search
    from gssm.training.crossval import cross_validate
    from gssm.training.evaluate import evaluate
    from gssm.training.insitu import read_ismn
    from gssm.training.samples import concat_samples, read_samples
    from gssm.training.stations import build_samples
    from gssm.training.train import train
    from gssm.training.tune import tune
    from gssm.training.uscrn import read_uscrn

__all__ = [
    "FeatureSpec",
    "GssmError",
    "GssmWarning",
    "Model",
    "WaterCloud",
    "build_features",
    "build_samples",
    "check",
    "compare",
    "concat_samples",
    "correct",
    "cross_validate",
    "evaluate",
    "export",
    "history",
    "load_model",
    "matchups",
    "open_archive",
    "open_cube",
    "open_product",
    "point_series",
    "polygon_series",
    "predict",
    "read_ismn",
    "read_record",
    "read_samples",
    "read_uscrn",
    "search",
    "to_zarr",
    "train",
    "tune",
    "with_history",
]

_HOMES = {
    "FeatureSpec": "gssm.schema",
    "GssmError": "gssm.errors",
    "GssmWarning": "gssm.errors",
    "Model": "gssm.models.ensemble",
    "WaterCloud": "gssm.physics",
    "build_features": "gssm.features",
    "build_samples": "gssm.training.stations",
    "check": "gssm.checks.report",
    "compare": "gssm.compare.report",
    "concat_samples": "gssm.training.samples",
    "correct": "gssm.correct",
    "cross_validate": "gssm.training.crossval",
    "evaluate": "gssm.training.evaluate",
    "export": "gssm.archive.export",
    "history": "gssm.history",
    "load_model": "gssm.models.bundle",
    "matchups": "gssm.matchups",
    "open_archive": "gssm.archive.reading",
    "open_cube": "gssm.align",
    "open_product": "gssm.compare.opening",
    "point_series": "gssm.archive.series",
    "polygon_series": "gssm.archive.series",
    "predict": "gssm.predict",
    "read_ismn": "gssm.training.insitu",
    "read_record": "gssm.records",
    "read_samples": "gssm.training.samples",
    "read_uscrn": "gssm.training.uscrn",
    "search": "gssm.search",
    "to_zarr": "gssm.archive.store",
    "train": "gssm.training.train",
    "tune": "gssm.training.tune",
    "with_history": "gssm.history",
}


class _Package(ModuleType):
    """The package, whose public names are its verbs even where a module has the same name.

    Python sets ``gssm.predict`` to the module of that name when it is imported, which
    would shadow the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
_accessor.register()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("gssm")
    if name not in _HOMES:
        raise AttributeError(f"module 'gssm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
