"""One thread of BLAS while anyone scores, and what was set before afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import OpenBLASController, ThreadpoolController

from gssm.models.blas import single_thread


def threads() -> set[int]:
    found = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in found}


@pytest.fixture
def two_threads() -> Iterator[None]:
    np.ones((2, 2)) @ np.ones((2, 2))
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        # Else this thread alone could change what it has set.
        OpenBLASController.clear_controlling_thread()
        if threads() != {2}:
            pytest.skip("this BLAS has one thread whatever it is told")
        yield


@pytest.mark.usefixtures("two_threads")
def test_the_last_to_leave_restores_what_the_first_found() -> None:
    inside, leave = threading.Event(), threading.Event()

    def score() -> None:
        with single_thread():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=score)
    with single_thread():
        other.start()
        assert inside.wait(10)
    # The first has left, and the second is still inside.
    assert threads() == {1}
    leave.set()
    other.join()
    assert threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_an_error_inside_restores_too() -> None:
    with pytest.raises(KeyError), single_thread():
        raise KeyError
    assert threads() == {2}
