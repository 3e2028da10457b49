from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm.web.caching import OnceCache


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_what_is_kept_stays_within_its_bytes_and_is_right(asked):
    cache = OnceCache(100, len)
    for key, size in asked:
        found = cache.get((key, size), lambda k=key, s=size: bytes([k]) * s)
        assert found == bytes([key]) * size
        assert cache.bytes <= 100


def test_what_is_asked_for_again_is_not_made_again():
    cache, made = OnceCache(100, len), []

    def make():
        made.append(1)
        return b"x" * 10

    assert not cache.has("a")
    assert cache.get("a", make) is cache.get("a", make)
    assert cache.has("a")
    assert (len(made), cache.bytes) == (1, 10)
    cache.clear()
    assert cache.bytes == 0
    cache.get("a", make)
    assert len(made) == 2


def test_what_is_too_large_is_handed_out_and_not_kept():
    cache = OnceCache(5, len)
    assert cache.get("a", lambda: b"x" * 6) == b"x" * 6
    assert not cache.has("a")
    assert cache.bytes == 0


def test_what_many_ask_for_at_once_is_made_once():
    cache, made, go = OnceCache(100, len), [], threading.Event()

    def make():
        made.append(1)
        assert go.wait(10)
        return b"x"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.get, "a", make) for _ in range(8)]
        go.set()
        assert {future.result() for future in asked} == {b"x"}
    assert len(made) == 1


def test_a_failure_is_of_those_who_wait_and_not_kept():
    cache = OnceCache(100, len)
    entered, go = threading.Event(), threading.Event()

    def fail():
        entered.set()
        assert go.wait(10)
        raise ValueError("no")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", fail)
        assert entered.wait(10)
        second = pool.submit(cache.get, "a", fail)
        go.set()
        for future in (first, second):
            with pytest.raises(ValueError, match="no"):
                future.result()
    assert cache.get("a", lambda: b"x") == b"x"
