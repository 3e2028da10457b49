"""A table of samples -> dataset -> matrix of features, by the code that serves cubes.

A sample is one station (or any place) at one radar acquisition: a row of canonical
columns. It goes through the same `gssm.features.build_features` as a cube of
pixels, so that training and serving cannot differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gssm import schema
from gssm.errors import SamplesError
from gssm.features import build_features
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec

Float32Array = np.ndarray[Any, np.dtype[np.float32]]

DIMENSION = "sample"


def samples_to_dataset(samples: pd.DataFrame) -> xr.Dataset:
    """Return the canonical columns of a table as a dataset along ``sample``.

    Parameters
    ----------
    samples
        Canonical columns in canonical units (`gssm.schema.VARIABLES`): vv and vh as
        linear power, reflectance, kelvin, degree, metres; optionally ``time``
        (radar acquisition, UTC). Other columns are left out.

    Returns
    -------
    xarray.Dataset
        One float32 variable per canonical column, shape (sample,), with the
        attributes of the schema; ``time`` is a coordinate along ``sample``.

    Raises
    ------
    SamplesError
        The table has no row, or lacks the radar columns.
    """
    if len(samples) == 0:
        raise SamplesError("the samples table has no rows; check the filter that made it.")
    missing = [name for name in schema.BACKSCATTER if name not in samples]
    if missing:
        raise SamplesError(
            f"the samples table has no column {', '.join(map(repr, missing))}; read it with "
            "gssm.read_samples or rename its columns to gssm's canonical names."
        )
    variables = {
        name: (DIMENSION, samples[name].to_numpy(np.float32), schema.VARIABLES[name].attrs)
        for name in map(str, samples.columns)
        if name in schema.VARIABLES
    }
    coords = {}
    if "time" in samples:
        coords["time"] = (DIMENSION, pd.to_datetime(samples["time"]).to_numpy("datetime64[ns]"))
    return xr.Dataset(variables, coords=coords)


def feature_matrix(
    samples: pd.DataFrame,
    spec: str | FeatureSpec = "l2",
    water_cloud: WaterCloud | None = None,
) -> Float32Array:
    """Return the features of a table, shape (rows, features), NaN where missing.

    Columns are in the order and the units of the spec; a feature whose inputs the
    table lacks is NaN in every row.
    """
    spec = schema.resolve_spec(spec)
    features = build_features(samples_to_dataset(samples), spec, water_cloud)
    columns = [features[name].values for name in spec.features]
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)
