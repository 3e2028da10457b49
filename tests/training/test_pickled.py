"""Pickles, friendly and hostile: a table comes out, or a sentence; nothing is ever run."""

from __future__ import annotations

import bz2
import datetime
import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm.errors import SamplesError
from gssm.training import pickle_records, pickled
from gssm.training.pickled import read_pickled_table


def mixed_table(rows: int = 5) -> pd.DataFrame:
    n = np.arange(rows)
    cells = ["text", None, 2.5, pd.Timestamp("2020-01-02 03:04"), pd.NaT][:rows]
    return pd.DataFrame(
        {
            "a": n / 3,
            "b": n * 2.0,
            "whole": n,
            "small": n.astype("u1"),
            "single": n.astype("f4"),
            "flag": n % 2 == 0,
            "when": pd.date_range("2020-01-01", periods=rows, freq="h"),
            "second": pd.date_range("2020-01-01", periods=rows, freq="D").as_unit("s"),
            "text": np.array(["x", "y", None, "zz", "w"][:rows], dtype=object),
            "cells": np.array(cells, dtype=object),
        }
    )


def read_bytes(content: bytes, folder: Path) -> pd.DataFrame:
    path = folder / "table.pkl"
    path.write_bytes(content)
    try:
        return read_pickled_table(path)
    finally:
        assert path.read_bytes() == content  # the file itself is never touched


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_table_is_what_pandas_reads(tmp_path: Path, protocol: int) -> None:
    table = mixed_table()
    for made in (table, table.sample(frac=1, random_state=0), table[["b", "when"]].iloc[::2]):
        back = read_bytes(pickle.dumps(made, protocol), tmp_path)
        pd.testing.assert_frame_equal(back, made.reset_index(drop=True))


def test_objects_of_datetime_and_numpy_are_read(tmp_path: Path) -> None:
    cells = [datetime.datetime(2020, 5, 6, 7, 8, 9, 10), datetime.date(2020, 1, 1), np.float32(2.5)]
    table = pd.DataFrame({"cells": np.array(cells, dtype=object)})
    back = list(read_bytes(pickle.dumps(table), tmp_path)["cells"])
    assert back == [cells[0], datetime.datetime(2020, 1, 1), cells[2]]


def test_rows_of_any_order_and_byte_order_are_read(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    for array in (values, np.asfortranarray(values), values.astype(">f8")):
        back = read_bytes(pickle.dumps(pd.DataFrame(array, columns=list("abcd"))), tmp_path)
        np.testing.assert_array_equal(back.to_numpy(), values)
        assert (back.dtypes == "f8").all()


def test_names_of_numpy_1_are_the_same(tmp_path: Path) -> None:
    content = pickle.dumps(mixed_table(), 3)  # protocol 3 has names as lines, without lengths
    old = content.replace(b"cnumpy._core.", b"cnumpy.core.")
    assert old != content
    pd.testing.assert_frame_equal(read_bytes(old, tmp_path), mixed_table())


def test_form_of_pandas_1_0_is_read(tmp_path: Path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    axes = [pd.Index(["a", "b"]), pd.RangeIndex(3)]
    blocks = [{"values": values, "mgr_locs": slice(0, 2, 1)}]
    state = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    content = (
        b"\x80\x03cpandas.core.frame\nDataFrame\n)\x81}X\x05\x00\x00\x00_data"
        b"cpandas.core.internals.managers\nBlockManager\n)\x81"
        + pickle.dumps(state, 3)[2:-1]  # without PROTO and STOP
        + b"bsb."
    )
    expected = pd.DataFrame(values.T, columns=["a", "b"])
    pd.testing.assert_frame_equal(read_bytes(content, tmp_path), expected)


class Calls:
    """Asks its reader to call a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def global_of(module: str, name: str) -> bytes:
    """STACK_GLOBAL of protocol 4, as any module and name."""
    parts = (bytes([0x8C, len(text)]) + text.encode() for text in (module, name))
    return b"".join(parts) + b"\x93"


def hostile(marker: Path) -> dict[str, bytes]:
    run = Calls(os.system, f"touch {marker}")
    inside = mixed_table().assign(cells=[run, 1, 2, 3, 4])
    frame = pickle.dumps(mixed_table(), 4)
    return {
        "a call": pickle.dumps(run),
        "a call in an array of objects": pickle.dumps(inside),
        "a call in the attributes": pickle.dumps(
            pd.DataFrame.from_records([{"a": 1}]).pipe(lambda t: t.attrs.update(x=run) or t)
        ),
        "a chain of getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        "eval": pickle.dumps(Calls(eval, f"open({str(marker)!r}, 'w')")),
        "a name with dots": b"\x80\x04" + global_of("pandas", "io.common.os.system") + b".",
        "a name inside a known one": b"\x80\x04" + global_of("numpy", "ndarray.tofile") + b".",
        "a module that is a known name": b"\x80\x04" + global_of("numpy.ndarray", "tofile") + b".",
        "pandas' own reader": b"\x80\x04" + global_of("pandas", "read_pickle") + b".",
        "a partial": pickle.dumps(Calls(__import__("functools").partial, os.system)),
        "code after a table": frame[:-1] + b"0" + pickle.dumps(run, 4)[2:],
    }


HOSTILE = {
    "a call": "names 'posix.system'",
    "a call in an array of objects": "names 'posix.system'",
    "a call in the attributes": "names 'posix.system'",
    "a chain of getattr": "names 'builtins.getattr'",
    "eval": "names 'builtins.eval'",
    "a name with dots": "names 'pandas.io.common.os.system'",
    "a name inside a known one": "names 'numpy.ndarray.tofile'",
    "a module that is a known name": "names 'numpy.ndarray.tofile'",
    "pandas' own reader": "names 'pandas.read_pickle'",
    "a partial": "names 'functools.partial'",
    "code after a table": "opcode POP",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickle_is_refused_and_never_run(tmp_path: Path, case: str) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(SamplesError, match=HOSTILE[case]) as refusal:
        read_bytes(hostile(marker)[case], tmp_path)
    assert "nothing of it was run" in str(refusal.value)
    assert not marker.exists()


def handmade(
    *,
    dtype: bytes = b"X\x02\x00\x00\x00f8\x85R(K\x03X\x01\x00\x00\x00<tb",
    shape: bytes = b"K\x01K\x01\x86",
    data: bytes = b"C\x08aaaaaaaa",
    where: bytes = b"cbuiltins\nslice\nK\x00K\x01K\x01\x87R",
    rows: bytes = b"K\x01",
) -> bytes:
    """A table of one number, with any of its parts replaced."""  # fmt: skip
    of_numpy = b"cnumpy.core.multiarray\n_reconstruct\n)R"
    index = b"cpandas.core.indexes.base\n_new_Index\nN}"
    array = of_numpy + b"(K\x01" + shape + b"cnumpy\ndtype\n" + dtype + b"\x89" + data + b"tb"
    name = of_numpy + (
        b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R(K\x03X\x01\x00\x00\x00|tb"
        b"\x89]X\x01\x00\x00\x00aatb"
    )
    axes = (
        b"](" + index + b"X\x04\x00\x00\x00data" + name + b"s\x86R" + index
        + b"(X\x05\x00\x00\x00startK\x00X\x04\x00\x00\x00stop" + rows
        + b"X\x04\x00\x00\x00stepK\x01u\x86Re"
    )  # fmt: skip
    block = b"cpandas._libs.internals\n_unpickle_block\n" + array + where + b"K\x02\x87R"
    manager = b"cpandas.core.internals.managers\nBlockManager\n" + block + b"\x85" + axes + b"\x86R"
    return b"\x80\x04cpandas.core.frame\nDataFrame\n)\x81}X\x04\x00\x00\x00_mgr" + manager + b"sb."


DEEP = b")" + b"\x85" * 200_000
OBJECTS = b"X\x02\x00\x00\x00O8\x85R(K\x03X\x01\x00\x00\x00|tb"
HOSTILE_PARTS: dict[str, dict[str, bytes]] = {
    "objects made of bytes": {"dtype": OBJECTS},
    "a dtype that is a deep tuple": {"dtype": DEEP + b"\x85R(K\x03X\x01\x00\x00\x00<tb"},
    "a dtype of unusual size": {"dtype": b"X\x03\x00\x00\x00V99\x85R(K\x03X\x01\x00\x00\x00<tb"},
    "a time unit that is a deep tuple": {
        "dtype": b"X\x02\x00\x00\x00M8\x85R(K\x04X\x01\x00\x00\x00<NNNNNNN("
        + DEEP
        + b"K\x01t\x86tb"
    },
    "too few bytes": {"data": b"C\x07aaaaaaa"},
    "a huge shape": {"shape": b"\x8a\x08" + struct.pack("<q", 2**60) + b"K\x01\x86"},
    "a negative shape": {"shape": b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"},
    "many dimensions": {"shape": b"(" + b"K\x01" * 100_000 + b"t"},
    "a list of itself": {"dtype": OBJECTS, "data": b"]q\x00h\x00a"},
    "a deep cell": {"dtype": OBJECTS, "data": b"]" + DEEP + b"a"},
    "a place outside": {"where": b"cbuiltins\nslice\nK\x05K\x06K\x01\x87R"},
    "places without end": {
        "where": b"cbuiltins\nslice\nK\x00\x8a\x08" + struct.pack("<q", 2**61) + b"K\x01\x87R"
    },
    "a step of zero": {"where": b"cbuiltins\nslice\nK\x00K\x01K\x00\x87R"},
    "rows without end": {"rows": b"\x8a\x08" + struct.pack("<q", 2**61)},
    "a class called with numbers": {"where": b"cpandas.core.frame\nDataFrame\nK\x01\x85R"},
    "a class filled as if made": {"where": b"cnumpy\nndarray\n}b"},
}


def test_handmade_table_is_read(tmp_path: Path) -> None:
    back = read_bytes(handmade(), tmp_path)
    assert back["a"].tolist() == [np.frombuffer(b"a" * 8)[0]]


@pytest.mark.parametrize("case", HOSTILE_PARTS)
def test_known_names_cannot_be_abused(tmp_path: Path, case: str) -> None:
    with pytest.raises(SamplesError, match="nothing of it was run"):
        read_bytes(handmade(**HOSTILE_PARTS[case]), tmp_path)


NO_TABLE = {
    "gzip": (gzip.compress(pickle.dumps(1)), r"is compressed \(gzip\)"),
    "bzip2": (bz2.compress(pickle.dumps(1)), r"is compressed \(bzip2\)"),
    "text": (b"a,b\n1,2\n", "does not begin as a pickle"),
    "nothing": (b"", "does not begin as a pickle"),
    "protocol 0": (pickle.dumps(1, 0), "does not begin as a pickle"),
    "no value": (b"\x80\x04.", "is damaged or no table"),
    "a number": (pickle.dumps(1), "something else than a pandas DataFrame"),
    "a Series": (pickle.dumps(pd.Series([1.0])), "names 'pandas.core.series.Series'"),
    "a set": (pickle.dumps({1}), "opcode EMPTY_SET"),
    "zoned times": (
        pickle.dumps(pd.DataFrame({"t": pd.to_datetime(["2020-01-01"], utc=True)})),
        "names 'pandas.core.dtypes.dtypes.DatetimeTZDtype'",
    ),
    "a zoned cell": (
        pickle.dumps(pd.DataFrame({"t": np.array([pd.Timestamp(0, tz="UTC"), "a"], object)})),
        "names 'datetime.timezone",
    ),
    "complex": (pickle.dumps(pd.DataFrame({"z": [1j]})), "dtype 'c16'"),
    "numbers for names": (
        pickle.dumps(pd.DataFrame([[1]], columns=pd.Index([7], dtype=object))),
        "no text",
    ),
    "names counted": (pickle.dumps(pd.DataFrame([[1]])), "columns without names"),
    "a name twice": (pickle.dumps(pd.DataFrame([[1, 2]], columns=["a", "a"])), "the same twice"),
    "a list in a cell": (pickle.dumps(pd.DataFrame({"a": [[1]]})), r"cell .* \(list\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_TABLE)
def test_what_is_no_table_is_refused(tmp_path: Path, case: str) -> None:
    content, says = NO_TABLE[case]
    with pytest.raises(SamplesError, match=says):
        read_bytes(content, tmp_path)


def test_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps(mixed_table())
    monkeypatch.setattr(pickled, "MAX_BYTES", len(content) - 1)
    with pytest.raises(SamplesError, match=r"has \d+ bytes, more than"):
        read_bytes(content, tmp_path)
    monkeypatch.setattr(pickled, "MAX_BYTES", 300)  # ten columns of five are 400 and more
    monkeypatch.setattr(pickled, "_content", lambda path: content)
    with pytest.raises(SamplesError, match="unpacks to more than 300 bytes"):
        read_bytes(content, tmp_path)
    monkeypatch.setattr(pickle_records, "MAX_STEPS", 50)
    with pytest.raises(SamplesError, match="more than 50 steps"):
        read_bytes(content, tmp_path)


def test_lengths_that_the_file_does_not_have_take_no_memory(tmp_path: Path) -> None:
    for opcode in (b"\x8e", b"\x8d", b"\x96"):
        with pytest.raises(SamplesError, match="is damaged"):
            read_bytes(b"\x80\x05" + opcode + struct.pack("<Q", 2**61) + b"ab.", tmp_path)


CONTENT = pickle.dumps(mixed_table(), 4)


@given(st.integers(0, len(CONTENT) - 1))
def test_truncated_table_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    with pytest.raises(SamplesError, match=r"table\.pkl"):
        read_bytes(CONTENT[:length], folder)


@given(
    st.lists(st.tuples(st.integers(2, len(CONTENT) - 1), st.integers(0, 255)), min_size=1),
)
def test_damage_gives_a_sentence_or_a_table(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    content = bytearray(CONTENT)
    for position, value in damage:
        content[position] = value
    try:
        assert read_bytes(bytes(content), tmp_path_factory.getbasetemp()).shape[0] >= 0
    except SamplesError as refusal:
        assert str(refusal).startswith("table.pkl ")  # noqa: PT017
