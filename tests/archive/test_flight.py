import time
from types import SimpleNamespace

import pytest

from gssm.archive import flight as flights
from gssm.archive.flight import PER_THREAD, Flight
from gssm.errors import StoreWriteError
from planned import cluster_here


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


def test_a_cancelled_job_is_never_taken_for_one_that_was_done():
    with cluster_here(1) as client:
        flight = flight_of(client, time.sleep)
        flight.begin(30)
        client.cancel(list(flight.active), force=True)
        with pytest.raises(StoreWriteError, match="lost after 3 chunks, which stay"):
            flight.next()


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(flights, "ALONE_SECONDS", 0.1)
    monkeypatch.setattr(flights, "SIZE_SECONDS", 0.05)
    with cluster_here(1) as client:
        flight = flight_of(client, time.sleep)
        flight.begin(30)
        flight.client = SimpleNamespace(nthreads=dict, cancel=client.cancel)
        with pytest.raises(StoreWriteError, match="cluster was lost"):
            flight.next()
        flight.cancel()
