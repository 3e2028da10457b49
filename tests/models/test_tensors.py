"""Arrays in place, as the safetensors library itself reads them."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from gssm.errors import BundleError
from gssm.models.tensors import TYPES, views


def test_arrays_are_those_of_the_library_and_in_place() -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        f"{name}.{dtype.__name__}": (100 * rng.random(shape)).astype(dtype)
        for name, shape in {"flat": (7,), "deep": (2, 3, 4), "empty": (0, 5)}.items()
        for dtype in TYPES.values()
    }
    data = bytes(save(arrays, {"made": "by a test"}))
    found, expected = views(data), load(data)
    assert found.keys() == expected.keys() == arrays.keys()
    whole = np.frombuffer(data, np.uint8)
    for name, array in found.items():
        assert array.dtype == arrays[name].dtype
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, expected[name])
        if sys.byteorder == "little" and array.size:
            assert np.shares_memory(array, whole)


def file(header: Any, body: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(**changes: Any) -> bytes:
    return file({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}})


DAMAGE = {
    "nothing": b"",
    "header longer than the file": (1 << 40).to_bytes(8, "little") + b"{}",
    "header no JSON": file(b"{"),
    "header no object": file([]),
    "entry no object": file({"x": 1}),
    "no shape": file({"x": {"dtype": "F32", "data_offsets": [0, 8]}}),
    "unknown type": entry(dtype="BF16"),
    "size and shape differ": entry(shape=[3]),
    "shape negative": entry(shape=[-2]),
    "shape huge": entry(shape=[2**40, 2**40]),
    "before the beginning": entry(data_offsets=[-8, 0]),
    "beyond the end": entry(shape=[4], data_offsets=[0, 16]),
    "backwards": entry(data_offsets=[8, 0]),
    "cut short": entry()[:-1],
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_no_safetensors_is_refused(case: str) -> None:
    assert views(entry())["x"].tolist() == [0, 0]
    with pytest.raises(BundleError, match="damaged or no safetensors"):
        views(DAMAGE[case])
