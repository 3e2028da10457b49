"""Compilation of kernels by numba: without the interpreter's lock, kept between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(kernel: Callable[..., Any], fastmath: set[str] | None = None) -> Callable[..., Any]:
    """Compile on the first call, and read the result from numba's cache ever after.

    Parameters
    ----------
    kernel
        Function of arrays and numbers.
    fastmath
        LLVM flags that may change a sum in its last digit; none by default.
    """
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": fastmath or False,
    }
    try:
        return numba.njit(kernel, cache=True, **options)  # type: ignore[no-any-return]
    # numba raises this where neither the package nor the home folder can be written.
    except RuntimeError:
        return numba.njit(kernel, **options)  # type: ignore[no-any-return]
