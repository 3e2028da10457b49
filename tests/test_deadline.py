"""What ends waits when the process ends."""

import threading
import time

import pytest

from gssm.deadline import Ending


def test_who_waits_is_woken_and_told():
    ending = Ending()
    assert not ending.is_set()
    assert not ending.wait(0.01)
    threading.Timer(0.05, ending.set).start()
    began = time.monotonic()
    assert ending.wait(60)
    assert time.monotonic() - began < 30
    assert ending.is_set()


@pytest.mark.parametrize("times", [1, 2])
def test_the_handler_of_a_signal_sets_it_in_the_midst_of_a_wait_or_of_another(times):
    ending = Ending()

    def interrupted():
        with ending._changed:  # as in a wait that has not begun to sleep
            for _ in range(times):
                ending.set()

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert ending.is_set()
