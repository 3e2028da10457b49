from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gssm.archive.ledger import Row, as_frame, from_bytes, to_bytes

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
