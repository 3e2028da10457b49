"""Read the table in a pickle, building it from records: nothing of the pickle is run."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import SamplesError
from gssm.training.pickle_records import Record, RefusedError, brief, read_records

Array = np.ndarray[Any, np.dtype[Any]]

# The published table, 183 164 rows of 40 columns, takes about 60 MB as numbers.
MAX_BYTES = 512 * 1024**2

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_TIME_UNITS = {b"s": "s", b"ms": "ms", b"us": "us", b"ns": "ns"}
_TIME_UNIT_NUMBERS = {7: "s", 8: "ms", 9: "us", 10: "ns"}  # NPY_DATETIMEUNIT of numpy
# What damaged or hostile content makes the parts of this module raise.
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)


def read_pickled_table(path: Path) -> pd.DataFrame:
    """Read a pickled DataFrame of numbers, texts and times; nothing of the file is run.

    Parameters
    ----------
    path
        Pickle of protocol 3 to 5, as `pandas.DataFrame.to_pickle` of pandas 1 or 2
        wrote it, not compressed. The file is only read.

    Returns
    -------
    pandas.DataFrame
        The columns; the index is left behind.

    Raises
    ------
    SamplesError
        The file is too large, compressed, damaged, no table, or names anything that
        such a table does not need; the message says which.
    """
    try:
        return _table(read_records(_content(path)))
    except RefusedError as refused:
        reason = str(refused)
    except _DAMAGE as error:
        reason = f"is damaged or no table ({brief(str(error) or type(error).__name__)})"
    raise SamplesError(
        f"{path.name} {reason}; nothing of it was run: get it from its source again, or, if you "
        "trust it, open it yourself and save the table as one of these: .parquet, .csv."
    )


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise RefusedError(f"has {size} bytes, more than the {MAX_BYTES} read of a pickled table")
    content = path.read_bytes()
    for start, name in _COMPRESSED.items():
        if content.startswith(start):
            raise RefusedError(f"is compressed ({name}), which is not unpacked here")
    if len(content) < 2 or content[0] != 0x80 or not 3 <= content[1] <= 5:
        raise RefusedError("does not begin as a pickle of protocol 3 to 5 does")
    return content


def _is(value: Any, *what: str) -> bool:
    return type(value) is Record and value.what in what


def _table(frame: Any) -> pd.DataFrame:
    if not _is(frame, "frame"):
        raise RefusedError("holds something else than a pandas DataFrame")
    manager = frame.state["_mgr"] if "_mgr" in frame.state else frame.state["_data"]
    if not _is(manager, "manager"):
        raise TypeError("no blocks")
    blocks, (labels, rows) = _blocks(manager)
    names = _names(labels)
    columns: dict[int, Array] = {}
    total = 0
    for values, placement in blocks:
        array = _array(values)
        total += array.nbytes
        if total > MAX_BYTES:
            raise RefusedError(f"unpacks to more than {MAX_BYTES} bytes")
        where = _positions(placement, len(names))
        if array.shape != (len(where), _length(rows)) or columns.keys() & set(where):
            raise ValueError("blocks that do not fit the table")
        columns.update(zip(where, array, strict=True))
    if len(columns) != len(names):
        raise ValueError("columns without values")
    return pd.DataFrame({name: columns[number] for number, name in enumerate(names)})


def _blocks(manager: Record) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Values and placement of each block, and the two axes."""
    if manager.args:
        blocks, axes = manager.args
        if not all(_is(block, "block") for block in blocks):
            raise TypeError("no block")
        return [tuple(block.args[:2]) for block in blocks], axes
    state = manager.state[3]["0.14.1"]  # pandas up to 1.2 wrote blocks so since version 0.14.1
    return [(block["values"], block["mgr_locs"]) for block in state["blocks"]], state["axes"]


def _names(labels: Any) -> list[str]:
    if not _is(labels, "index") or "data" not in labels.args[1]:
        raise RefusedError("has columns without names")
    names: list[str] = _array(labels.args[1]["data"]).tolist()
    if not all(type(name) is str for name in names) or len(set(names)) != len(names):
        raise RefusedError("has columns whose names are no text, or the same twice")
    return names


def _length(rows: Any) -> int:
    if not _is(rows, "index"):
        raise TypeError("no index")
    state = rows.args[1]
    if "data" in state:
        return len(_array(state["data"]))
    return len(range(*(_whole(state[name]) for name in ("start", "stop", "step"))))


def _positions(placement: Any, count: int) -> list[int]:
    if _is(placement, "slice"):
        start, stop, step = (_whole(number) for number in placement.args)
        wanted = range(start, stop, step)
        if len(wanted) > count:
            raise ValueError("blocks that do not fit the table")
        positions = list(wanted)
    else:
        positions = [_whole(number) for number in _array(placement).tolist()]
    if len(set(positions)) != len(positions) or not all(0 <= n < count for n in positions):
        raise ValueError("blocks that do not fit the table")
    return positions


def _whole(number: Any) -> int:
    if type(number) is not int or abs(number) > 2**62:
        raise TypeError("no whole number")
    return number


def _array(value: Any) -> Array:
    """Build a numpy array of its bytes or cells, in the byte order of this machine."""
    if _is(value, "times"):
        arrays = [part for part in value.state if _is(part, "array", "buffer")]
        (value,) = arrays
    if _is(value, "buffer"):
        data, dtype, shape, order, *axes = value.args
        if axes not in ([], [None]):
            raise ValueError("axes in an unusual order")
    elif _is(value, "array"):
        _, shape, dtype, fortran, data = value.state
        order = "F" if fortran else "C"
    else:
        raise TypeError("no array")
    if type(shape) is not tuple or len(shape) > 2:
        raise TypeError("no table of values")
    shape = tuple(_whole(size) for size in shape)
    kind = _dtype(dtype)
    if kind.hasobject:
        if type(data) is not list or len(data) != math.prod(shape):
            raise ValueError("cells that do not fill their array")
        cells = np.empty(len(data), dtype=object)
        cells[:] = [_cell(cell) for cell in data]
        return cells.reshape(shape)  # numpy lists cells row by row, whatever the order
    if type(data) not in (bytes, bytearray) or len(data) != math.prod(shape) * kind.itemsize:
        raise ValueError("bytes that do not fill their array")
    array = np.frombuffer(data, dtype=kind).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(kind.newbyteorder("="), copy=False)


def _dtype(value: Any) -> np.dtype[Any]:
    if not _is(value, "dtype"):
        raise TypeError("no dtype")
    code, order = value.args[0], value.state[1]
    if type(code) is not str or type(order) is not str or order not in ("<", ">", "|", "="):
        raise TypeError("no dtype")
    if code in _NUMBERS:
        return np.dtype(code if order == "|" else f"{order}{code}")
    if code == "O8":
        return np.dtype(object)
    if code == "M8":
        unit, count, *_ = value.state[8][1]
        if type(unit) is bytes and unit in _TIME_UNITS and count == 1:
            return np.dtype(f"{order}M8[{_TIME_UNITS[unit]}]")
    raise RefusedError(f"has values of dtype {brief(code)!r}, which are not read")


def _cell(value: Any) -> Any:
    """Return a cell of an array of objects: a text, a number, a time or nothing."""
    kind = type(value)
    if kind in (str, float, bool) or value is None:
        return value
    if kind is int:
        return _whole(value)
    if kind is Record and value.what in _CELLS:
        return _CELLS[value.what](value.args)
    raise RefusedError(f"has a cell that is neither number nor text nor time ({kind.__name__})")


def _scalar(args: tuple[Any, ...]) -> Any:
    dtype, data = args
    kind = _dtype(dtype)
    if kind.hasobject or type(data) is not bytes or len(data) != kind.itemsize:
        raise ValueError("bytes that are no number")
    return np.frombuffer(data, dtype=kind)[0]


def _timestamp(args: tuple[Any, ...]) -> pd.Timestamp:
    value, _, zone, *rest = args  # pandas 2 appends the number of the unit
    unit = _TIME_UNIT_NUMBERS.get(_whole(rest[0]) if rest else 10)
    if zone is not None or unit is None:
        raise RefusedError("has a time with a zone or of unusual resolution")
    return pd.Timestamp(_whole(value), unit=unit)


def _date(args: tuple[Any, ...]) -> datetime.datetime:
    data = args[0] if len(args) == 1 else None  # a second one is a zone
    if type(data) is not bytes or len(data) not in (4, 10):
        raise RefusedError("has a time with a zone or of unusual form")
    year, month, day = data[0] * 256 + data[1], data[2], data[3]
    if len(data) == 4:
        return datetime.datetime(year, month, day)
    microseconds = int.from_bytes(data[7:], "big")
    return datetime.datetime(year, month, day, data[4], data[5], data[6], microseconds)


_CELLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    "scalar": _scalar,
    "timestamp": _timestamp,
    "datetime": _date,
    "date": _date,
    "no time": lambda args: pd.NaT,
}
