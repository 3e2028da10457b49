"""Which hyper-parameters are tuned, and between what: a table per member."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from gssm.errors import RequestError
from gssm.models.boosting import BoostingParams
from gssm.models.ensemble import KINDS
from gssm.models.forest import ForestParams
from gssm.models.tabnet import TabNetParams

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included; a whole one if both are ``int``.

    Parameters
    ----------
    name
        Field of the member's hyper-parameters.
    low, high
        Limits.
    log
        Whether it is the order of magnitude that matters: drawn evenly in its logarithm.
    """

    name: str
    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class OneOf:
    """One of a few values without an order.

    Parameters
    ----------
    name
        Field of the member's hyper-parameters.
    values
        All that are tried.
    """

    name: str
    values: tuple[float, ...]


Parameter = Between | OneOf
Space = Sequence[Parameter]

# Around the default preset, which lies inside, so that a search begins with it. What is
# not listed keeps the preset's value: more trees of a forest are never worse, only
# larger, and their depth is bounded by the rows of a leaf.
SPACES: dict[str, tuple[Parameter, ...]] = {
    "random_forest": (
        Between("min_samples_leaf", 2, 200, log=True),
        Between("max_features", 0.05, 1.0),
        Between("max_samples", 0.1, 1.0),
    ),
    "xgboost": (
        Between("rounds", 50, 1000, log=True),
        Between("max_depth", 2, 10),
        Between("learning_rate", 0.01, 0.3, log=True),
        Between("subsample", 0.3, 1.0),
        Between("colsample_bytree", 0.1, 1.0),
        Between("min_child_weight", 1.0, 300.0, log=True),
        Between("reg_lambda", 0.1, 100.0, log=True),
    ),
    "tabnet": (
        Between("n_d", 4, 64, log=True),
        Between("n_a", 4, 64, log=True),
        Between("n_steps", 2, 6),
        Between("gamma", 1.0, 2.0),
        Between("n_independent", 1, 3),
        Between("n_shared", 1, 3),
        Between("lambda_sparse", 1e-6, 1e-2, log=True),
        Between("learning_rate", 1e-3, 5e-2, log=True),
        Between("decay", 0.8, 1.0),
        Between("epochs", 5, 40, log=True),
        OneOf("batch_size", (256, 512, 1024, 2048, 4096)),
        OneOf("virtual_batch_size", (64, 128, 256)),
    ),
}

PARAMS: dict[str, type] = {
    "random_forest": ForestParams,
    "xgboost": BoostingParams,
    "tabnet": TabNetParams,
}


def resolve_spaces(
    members: Sequence[str] | Mapping[str, Space] | None,
) -> dict[str, tuple[Parameter, ...]]:
    """Search space of each member asked for, in the order of `KINDS`.

    Parameters
    ----------
    members
        Names, or a search space of the caller's own by name; None for all of `SPACES`.

    Raises
    ------
    RequestError
        There is no such member or hyper-parameter, or a range is empty or of the wrong
        kind.
    """
    own = isinstance(members, Mapping)
    names = list(SPACES) if members is None else list(members)
    unknown = [name for name in names if name not in SPACES]
    if unknown or not names:
        raise RequestError(
            f"members names {', '.join(map(repr, unknown)) or 'none'}; "
            f"use some of {', '.join(map(repr, SPACES))}."
        )
    spaces = {
        name: tuple(members[name]) if isinstance(members, Mapping) else SPACES[name]
        for name in KINDS
        if name in names
    }
    if own:
        for name, space in spaces.items():
            _check(name, space)
    return spaces


def _check(member: str, space: tuple[Parameter, ...]) -> None:
    """Refuse what would fail or mislead in every trial."""
    hints = get_type_hints(PARAMS[member])
    if not space or len({p.name for p in space}) < len(space):
        raise RequestError(
            f"the search space of {member} is empty or names a hyper-parameter twice; name each "
            "once, at least one."
        )
    for parameter in space:
        if parameter.name not in hints:
            raise RequestError(
                f"{member} has no hyper-parameter {parameter.name!r}; use some of "
                f"{', '.join(map(repr, hints))}."
            )
        if fault := _fault(parameter, whole=hints[parameter.name] in (int, int | None)):
            raise RequestError(
                f"the range of {parameter.name} of {member} {fault}; mend its row of the search "
                "space."
            )


def _fault(parameter: Parameter, whole: bool) -> str:
    own = parameter.values if isinstance(parameter, OneOf) else (parameter.low, parameter.high)
    if not own:
        return "has no value"
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in own):
        return "is not made of finite numbers"
    if whole and not all(isinstance(number, int) for number in own):
        return "has fractions where only whole numbers will do"
    if isinstance(parameter, Between):
        if parameter.low > parameter.high:
            return f"ends at {parameter.high:g} before it begins at {parameter.low:g}"
        if parameter.log and parameter.low <= 0:
            return f"begins at {parameter.low:g}, which has no logarithm"
    return ""


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Rows of a search space as Optuna draws from them."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, BaseDistribution] = {}
    for parameter in space:
        if isinstance(parameter, OneOf):
            found[parameter.name] = CategoricalDistribution(parameter.values)
        elif parameter.whole:
            low, high = int(parameter.low), int(parameter.high)
            found[parameter.name] = IntDistribution(low, high, log=parameter.log)
        else:
            limits = float(parameter.low), float(parameter.high)
            found[parameter.name] = FloatDistribution(*limits, log=parameter.log)
    return found


def inside(params: Any, space: Space) -> dict[str, float] | None:
    """Values of a preset's hyper-parameters that a space searches; None if one lies outside."""
    values: dict[str, float] = {}
    for parameter in space:
        value = getattr(params, parameter.name)
        if isinstance(parameter, OneOf):
            allowed = value in parameter.values
        else:
            allowed = value is not None and parameter.low <= value <= parameter.high
            if allowed and parameter.whole:
                allowed = value == int(value)
            elif allowed:
                value = float(value)
        if not allowed:
            return None
        values[parameter.name] = value
    return values
