import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gssm.archive.ledger import AGES, Row, as_frame, from_bytes, to_bytes

ROW = Row(1_700_000_000, "sentinel-1a", 37, "ascending", radar=("a",), partners=("b", "c"))
CHUNKS = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)))


@given(coverages=st.lists(CHUNKS, max_size=4))
def test_rows_come_back_from_their_bytes(coverages):
    rows = [
        replace(ROW, time=ROW.time + n, coverage=tuple(sorted(coverage)))
        for n, coverage in enumerate(coverages)
    ]
    assert from_bytes(to_bytes(rows)) == rows


def test_a_whole_square_takes_less_than_a_kilobyte():
    whole = tuple((i, j) for i in range(10) for j in range(10))
    assert to_bytes([replace(ROW, coverage=whole)]).size < 1000


def test_columns_of_a_later_version_are_left_out():
    content = to_bytes([ROW]).tobytes().replace(b'{"', b'{"of_the_future": 1, "', 1)
    assert from_bytes(np.frombuffer(content, np.uint8)) == [ROW]


def test_the_table_has_a_row_each():
    table = as_frame([replace(ROW, coverage=((0, 1),)), replace(ROW, time=0)], "31UDS")
    assert list(table["chunks"]) == [0, 1]
    assert table["time"].iloc[0].year == 1970
    assert (table["square"] == "31UDS").all()
    assert as_frame([], "31UDS").empty


def test_ages_come_back_and_lines_without_them_read_as_unknown():
    known = replace(ROW, s2_age=-1.28, landsat_age=0.71)
    (found,) = from_bytes(to_bytes([known]))
    assert (found.s2_age, found.landsat_age) == (-1.28, 0.71)
    assert found.digest == ROW.digest
    record = json.loads(to_bytes([known]).tobytes())
    old = json.dumps({k: v for k, v in record.items() if k not in AGES}).encode()
    assert from_bytes(np.frombuffer(old, np.uint8)) == [ROW]


def test_the_table_has_ages_as_numbers():
    table = as_frame([ROW, replace(ROW, time=0, s2_age=1.5)], "31UDS")
    np.testing.assert_array_equal(table["s2_age"], [1.5, np.nan])
    for rows in ([ROW], []):
        assert as_frame(rows, "31UDS")["landsat_age"].dtype == float
