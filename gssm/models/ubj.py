"""Universal Binary JSON, as XGBoost writes its models."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from gssm.errors import BundleError

# Markers of the numbers: their big-endian numpy types.
NUMBERS: dict[bytes, np.dtype[Any]] = {
    b"i": np.dtype(">i1"),
    b"U": np.dtype(">u1"),
    b"I": np.dtype(">i2"),
    b"l": np.dtype(">i4"),
    b"L": np.dtype(">i8"),
    b"d": np.dtype(">f4"),
    b"D": np.dtype(">f8"),
}
CONSTANTS: dict[bytes, bool | None] = {b"T": True, b"F": False, b"Z": None}
# A model is some ten levels deep; a file that means harm could be deeper than the stack.
DEEPEST = 100


def decode(data: bytes) -> Any:
    """Return the value that UBJ bytes say: typed arrays as numpy arrays, the rest as JSON would.

    Raises
    ------
    BundleError
        The bytes end early, or hold something else than UBJ.
    """
    try:
        value, _ = _value(data, 0, DEEPEST)
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise BundleError(
            "the XGBoost member of this model is incomplete or damaged, or not UBJ; "
            "take an intact copy of the bundle."
        ) from error
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    marker = data[at : at + 1]
    return _after(marker, data, at + 1, depth)


def _after(marker: bytes, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Read the value whose marker was read; return it and where it ends."""
    if depth == 0:
        raise ValueError("too deep")
    if marker in NUMBERS:
        kind = NUMBERS[marker]
        return np.frombuffer(data, kind, 1, at)[0].item(), at + kind.itemsize
    if marker in CONSTANTS:
        return CONSTANTS[marker], at
    if marker == b"S":
        return _text(data, at)
    if marker == b"[":
        return _array(data, at, depth - 1)
    if marker == b"{":
        return _object(data, at, depth - 1)
    raise ValueError("unknown marker")


def _length(data: bytes, at: int) -> tuple[int, int]:
    length, at = _value(data, at, 1)
    if not isinstance(length, int) or not 0 <= length <= len(data) - at:
        raise ValueError("a length beyond the end")
    return length, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    length, at = _length(data, at)
    return data[at : at + length].decode(), at + length


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if data[at : at + 1] == b"$":
        kind = NUMBERS[data[at + 1 : at + 2]]
        if data[at + 2 : at + 3] != b"#":
            raise ValueError("a typed array without a length")
        length, at = _length(data, at + 3)
        numbers = np.frombuffer(data, kind, length, at)
        return numbers.astype(kind.newbyteorder("=")), at + numbers.nbytes
    values: list[Any] = []
    if data[at : at + 1] == b"#":
        length, at = _length(data, at + 1)
        for _ in range(length):
            value, at = _value(data, at, depth)
            values.append(value)
        return values, at
    while data[at : at + 1] != b"]":
        value, at = _value(data, at, depth)
        values.append(value)
    return values, at + 1


def _object(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    values: dict[str, Any] = {}
    while data[at : at + 1] != b"}":
        name, at = _text(data, at)
        values[name], at = _value(data, at, depth)
    return values, at + 1
