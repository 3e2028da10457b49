import threading
import time
from types import SimpleNamespace

import distributed
import pytest

from gssm.archive import flight as flights
from gssm.archive.flight import PER_THREAD, Flight
from gssm.errors import StoreWriteError
from planned import cluster_here

ENDED = threading.Event()


def last(_):
    """Be a job that lasts until its test has ended; a closing cluster would wait for it."""
    ENDED.wait()


def flight_of(client, work):
    return Flight(client, lambda job: client.submit(work, job, pure=False), lambda: "3 chunks")


def test_jobs_come_back_with_their_results_and_errors():
    with cluster_here(2) as client:
        flight = flight_of(client, lambda job: 6 // job)
        begun = [1, 2, 0]
        for job in begun:
            assert flight.has_room
            flight.begin(job)
        back = {job: (result, type(error)) for job, result, error in (flight.next() for _ in begun)}
    none = type(None)
    assert back == {1: (6, none), 2: (3, none), 0: (None, ZeroDivisionError)}
    assert not flight.active


def test_no_more_are_begun_than_threads_have_use_for():
    with cluster_here(2) as client:
        flight = flight_of(client, time.sleep)
        while flight.has_room:
            flight.begin(0.01)
        assert len(flight.active) == PER_THREAD * 2


@pytest.fixture
def one_thread():
    """Jobs that last, on a cluster of one thread."""
    ENDED.clear()
    with cluster_here(1) as client:
        yield flight_of(client, last)
        ENDED.set()


def test_a_cancelled_job_is_never_taken_for_one_that_was_done(one_thread):
    one_thread.begin("job")
    one_thread.client.cancel(list(one_thread.active), force=True)
    with pytest.raises(StoreWriteError, match="lost after 3 chunks, which stay"):
        one_thread.next()


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch, one_thread):
    monkeypatch.setattr(flights, "ALONE_SECONDS", 0.1)
    monkeypatch.setattr(flights, "SIZE_SECONDS", 0.05)
    one_thread.begin("job")
    client = one_thread.client
    one_thread.client = SimpleNamespace(nthreads=dict, cancel=client.cancel)
    with pytest.raises(StoreWriteError, match="cluster was lost"):
        one_thread.next()
    one_thread.cancel()


def test_a_scheduler_that_dies_before_the_result_is_fetched_is_told_as_lost(monkeypatch):
    def gone(self):
        raise OSError("Stream is closed")

    monkeypatch.setattr(distributed.Future, "result", gone)
    with cluster_here(1) as client:
        flight = flight_of(client, lambda job: job)
        flight.begin(1)
        with pytest.raises(StoreWriteError, match="lost after 3 chunks, which stay"):
            flight.next()
