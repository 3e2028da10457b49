"""What a manifest says of how its model came to be: the same for the same training."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from gssm.training.evaluate import skill_table
from gssm.training.fitting import station_keys
from gssm.training.presets import Recipe
from gssm.training.protocols import PROTOCOLS

PACKAGES = ("numpy", "scikit-learn", "xgboost", "torch", "pytorch-tabnet", "safetensors")

LABEL_LICENCES = {
    "USCRN": "public domain (NOAA U.S. Climate Reference Network)",
    "SCAN": "public domain (USDA NRCS Soil Climate Analysis Network)",
}
UNKNOWN_LICENCE = "as the network's own terms say; check them before sharing this model"
MODEL_LICENCE = "Apache-2.0"

_RECIPE_DEFAULTS = {"spec": "l2", "preset": "default", "seed": "0"}


def describe_training(
    samples: pd.DataFrame, recipe: Recipe, networks: tuple[str, ...] | None
) -> dict[str, Any]:
    """Rows, stations, licence, seed, versions and the command that remakes the model."""
    source: Mapping[str, str] = samples.attrs.get("source", {})
    found = sorted(samples["network"].astype(str).unique()) if "network" in samples else []
    tables: Sequence[Mapping[str, str]] = samples.attrs.get("sources", [source] if source else [])
    times = pd.to_datetime(samples["time"]) if "time" in samples else pd.Series(dtype="M8[ns]")
    return {
        "gssm_version": _version("gssm"),
        "licence": {
            "model": MODEL_LICENCE,
            "labels": {name: LABEL_LICENCES.get(name, UNKNOWN_LICENCE) for name in found},
        },
        "training": {
            "command": _command(source.get("name", "<table>"), recipe, networks),
            "table": source.get("name"),
            "table_sha256": source.get("sha256"),
            "tables": [dict(table) for table in tables],
            "rows": len(samples),
            "stations": int(station_keys(samples).nunique()),
            "networks": found,
            "time_range": [str(times.min()), str(times.max())] if len(times) else None,
            "preset": recipe.preset,
            "hyperparameters": asdict(recipe.params),
            "seed": recipe.seed,
            "packages": {name: _version(name) for name in PACKAGES},
        },
    }


def describe_skill(predicted: pd.DataFrame, protocol: str) -> dict[str, Any]:
    """Cross-validated scores as plain JSON, as they are."""
    table = skill_table(predicted)
    return {
        "protocol": protocol,
        "says": PROTOCOLS[protocol].says,
        "folds": int(predicted["fold"].nunique()),
        "scores": {
            str(name): {str(key): _plain(value) for key, value in row.items()}
            for name, row in table.to_dict(orient="index").items()
        },
    }


def _plain(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if float(value).is_integer() else round(float(value), 6)


def _command(table: str, recipe: Recipe, networks: tuple[str, ...] | None) -> str:
    words = ["gssm", "train", table]
    if networks:
        words += ["--networks", ",".join(networks)]
    options = {"spec": recipe.spec.name, "preset": recipe.preset, "seed": str(recipe.seed)}
    for name, value in options.items():
        if value != _RECIPE_DEFAULTS[name]:
            words += [f"--{name}", value]
    return " ".join([*words, "--out", "<folder>"])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"
