"""What a manifest says of how its model came to be: the same for the same training."""

from __future__ import annotations

import importlib.metadata
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from gssm.models.ensemble import KINDS
from gssm.physics import WaterCloud
from gssm.schema import SPECS
from gssm.training.evaluate import skill_table
from gssm.training.fitting import station_keys, times_of
from gssm.training.presets import PRESETS, Recipe
from gssm.training.protocols import PROTOCOLS
from gssm.training.sources import stated_sources

PACKAGES = ("numpy", "scikit-learn", "xgboost", "torch", "pytorch-tabnet", "safetensors")

LABEL_LICENCES = {
    "USCRN": "public domain (NOAA U.S. Climate Reference Network)",
    "SCAN": "public domain (USDA NRCS Soil Climate Analysis Network)",
}
UNKNOWN_LICENCE = "as the network's own terms say; check them before sharing this model"
MODEL_LICENCE = "Apache-2.0"

# Options of `gssm.train` that its manifest leaves out where they have these values.
_DEFAULTS: dict[str, Any] = {
    "networks": (),
    "spec": "l2",
    "preset": "default",
    "members": tuple(KINDS),
    "water_cloud": WaterCloud(),
    "seed": 0,
    "evaluate": True,
}
# Those that the command line has, in its order.
_ON_THE_COMMAND_LINE = ("networks", "spec", "preset", "seed")
_IMPORTS = """import gssm
from gssm import FeatureSpec, WaterCloud
from gssm.training.presets import BoostingParams, ForestParams, Preset, TabNetParams"""


@dataclass(frozen=True)
class Request:
    """What `gssm.train` was asked for, besides the recipe.

    Parameters
    ----------
    networks
        Whose rows were used; all if there is none.
    evaluate
        Whether it was cross-validated.
    """

    networks: tuple[str, ...] = ()
    evaluate: bool = True


def describe_training(
    samples: pd.DataFrame, chosen: pd.DataFrame, recipe: Recipe, request: Request
) -> dict[str, Any]:
    """Rows, stations, licence, seed, versions and how to make the model again.

    Parameters
    ----------
    samples
        The table as it was given.
    chosen
        Its rows of the networks that were asked for.
    recipe, request
        What was made of them.
    """
    sources = stated_sources(samples)
    found = sorted(chosen["network"].astype(str).unique()) if "network" in chosen else []
    times = times_of(chosen)
    return {
        "gssm_version": _version("gssm"),
        "licence": {
            "model": MODEL_LICENCE,
            "labels": {name: LABEL_LICENCES.get(name, UNKNOWN_LICENCE) for name in found},
        },
        "training": {
            "command": _remake(sources, recipe, request),
            "table": _table(sources),
            "table_sha256": sources[0]["sha256"] if _is_file(sources) else None,
            "tables": sources,
            "rows": len(chosen),
            "stations": int(station_keys(chosen).nunique()),
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


def _is_file(sources: Sequence[dict[str, Any]]) -> bool:
    """Whether the table is one file as it was read: not changed, nor put together."""
    return len(sources) == 1 and sources[0].keys() == {"name", "sha256"}


def _table(sources: Sequence[dict[str, Any]]) -> str | None:
    """Name the table: that of its file, if it is one."""
    names = " + ".join(str(source["name"]) for source in sources)
    changed = any("changed" in source for source in sources)
    return f"{names}, changed after it was read" if changed else names or None


def _remake(sources: Sequence[dict[str, Any]], recipe: Recipe, request: Request) -> str:
    """Say how to make the model again: by a command, or in Python where no command can."""
    options = _options(recipe, request)
    beyond = [name for name in options if name not in _ON_THE_COMMAND_LINE]
    beyond += [name for name in ("spec", "preset") if not isinstance(options.get(name, ""), str)]
    # The command line separates names by commas.
    if any("," in name or name != name.strip() for name in request.networks):
        beyond.append("networks")
    table = _table(sources) or "table"
    if beyond:
        read = f"gssm.read_samples({table!r})" if _is_file(sources) else f"...  # {table}"
        return _in_python(read, options, beyond)
    words = ["gssm", "train", shlex.quote(table) if _is_file(sources) else f"<{table}>"]
    for name in _ON_THE_COMMAND_LINE:
        if name in options:
            value = options[name]
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", shlex.quote(text)]
    return " ".join([*words, "--out", "<folder>"])


def _options(recipe: Recipe, request: Request) -> dict[str, Any]:
    """Options of the training that are not those by default; by name where they have one."""
    named = [name for name, preset in PRESETS.items() if preset == recipe.params]
    options = {
        "networks": request.networks,
        "spec": recipe.spec.name if SPECS.get(recipe.spec.name) == recipe.spec else recipe.spec,
        "preset": named[0] if named else recipe.params,
        "members": recipe.members,
        "water_cloud": recipe.water_cloud,
        "seed": recipe.seed,
        "evaluate": request.evaluate,
    }
    return {name: value for name, value in options.items() if value != _DEFAULTS[name]}


def _in_python(read: str, options: dict[str, Any], beyond: Sequence[str]) -> str:
    """Lines of Python, where the values of `beyond` are none that a command line can give."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    says = f"# Trained from Python: the command gssm train has no options for {', '.join(beyond)}."
    if beyond == ["preset"]:
        says = "# In Python, or by the command gssm train with a file of this preset (save_preset)."
    return "\n".join(
        [
            says,
            _IMPORTS,
            f"samples = {read}",
            f"model = gssm.train(samples, {given})",
        ]
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"
