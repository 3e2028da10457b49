"""Arrays of a safetensors file in place: mapped from disk, processes share one copy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError

# What a file of a bundle is in memory: its bytes, or a view of the file itself.
Buffer = bytes | memoryview

# Of the format's types those that gssm writes.
TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
}


def views(data: Buffer) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file, read-only and without a copy.

    The library itself always copies. The format is a length, that many bytes of JSON, and
    the arrays (https://huggingface.co/docs/safetensors, little-endian).

    Raises
    ------
    BundleError
        The bytes are no safetensors, or cut short.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        if length > len(data) - 8:
            raise ValueError("cut short")
        header = json.loads(bytes(data[8 : 8 + length]))
        header.pop("__metadata__", None)
        return {name: _view(data, 8 + length, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BundleError(
            f"a member of this model is damaged or no safetensors ({error}); "
            "take an intact copy of the bundle."
        ) from error


def _view(data: Buffer, start: int, entry: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(TYPES[entry["dtype"]]).newbyteorder("<")
    begin, end = entry["data_offsets"]
    shape = tuple(int(size) for size in entry["shape"])
    count = int(np.prod(shape, dtype=object))
    if not 0 <= begin <= end or end - begin != count * dtype.itemsize:
        raise ValueError("an array has another size than its shape")
    array = np.frombuffer(data, dtype, count, start + begin) if count else np.empty(0, dtype)
    array = array.astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    array.flags.writeable = False
    return array
