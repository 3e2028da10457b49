"""Options that every comparison has."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from gssm.errors import RequestError


def check_draws(resamples: Any, seed: Any) -> None:
    """Refuse resamples and seeds that are no whole numbers.

    Raises
    ------
    RequestError
        One is not.
    """
    if not isinstance(resamples, Integral) or int(resamples) < 2:
        raise RequestError(f"{resamples!r} resamples give no interval; use some hundreds.")
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise RequestError(f"seed {seed!r} begins no random draws; use a whole number such as 0.")
