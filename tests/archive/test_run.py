"""Jobs on clusters: what is recorded, what survives, and how much is in flight."""

import io
import logging
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gssm.archive import run as running
from gssm.archive.acquisitions import read_rows
from gssm.archive.area import in_degrees
from gssm.archive.clusters import cluster, cluster_when_used
from gssm.archive.flight import PER_THREAD
from gssm.archive.jobs import Job
from gssm.archive.ledger import Row
from gssm.archive.plan import Note, steps
from gssm.archive.repository import create_archive, open_repository
from gssm.archive.rounds import Round
from gssm.archive.run import MOST_FAILURES, Budget, run
from gssm.archive.settle import settle
from gssm.archive.tiles import parse
from gssm.errors import ReadError, RequestError, StoreWriteError
from planned import DAY, cluster_here, linger, made_jobs, pretend, refuse, row_of, write

SQUARE = parse("31UES")


# What jobs leave behind: those of the cluster in this process share its memory.
begun, ended = [], []


@pytest.fixture(autouse=True)
def _forget():
    begun.clear()
    ended.clear()


def count(archive, job):
    begun.append((len(begun) + 1, len(ended)))
    row = linger(archive, job)
    ended.append(job.row.key)
    return row


def fail_once(archive, job):
    begun.append(job.row.key)
    return refuse(archive, job) if len(begun) == 1 else pretend(archive, job)


@pytest.fixture
def archive(tmp_path):
    return create_archive(str(tmp_path / "archive"), chunk=100)


@pytest.fixture(scope="module")
def client():
    with cluster_here() as here:
        yield here


def commits(archive):
    return len(list(open_repository(archive).ancestry(branch="main")))


def test_all_that_happens_is_counted_and_recorded(archive, client):
    def work(archive, job):
        day = (job.row.time - row_of(0).time) // DAY
        if day % 3 == 1:
            return replace(job.row, status="skipped", reason="cloudy")
        return refuse(archive, job) if day % 3 == 2 else pretend(archive, job)

    told = replace(row_of(50), status="skipped", reason="no Sentinel-2 within 3D")
    notes = [
        Note("31UES", "skipped", told.reason, told),
        Note("31UES", "known", "already there", row_of(60)),
        Note("31UES", "unplanned", "31UES 2023-06: down."),
        Note("31UES", "month", "2023-07"),
    ]
    reports = []
    before = commits(archive)
    summary = run(
        archive,
        [*made_jobs(9), *notes],
        client,
        work=work,
        retries=0,
        report=lambda s: reports.append((s.done, s.in_flight)),
    )
    counts = (summary.done, summary.skipped, summary.failed, summary.known, summary.months)
    assert counts == (3, 4, 3, 1, 2)
    assert summary.valued == 3
    assert summary.unplanned == ["31UES 2023-06: down."]
    assert len(summary.failures) == 3
    rows = read_rows(archive, SQUARE)
    assert {row.reason for row in rows if row.status == "skipped"} == {
        "cloudy",
        "no Sentinel-2 within 3D",
    }
    failed = [row for row in rows if row.status == "failed"]
    assert len(failed) == 3
    assert all(row.reason == f"{row.key} cannot be read." for row in failed)
    assert commits(archive) == before + 1  # not one for each row
    assert reports[-1] == (3, 0)


def test_in_flight_are_two_for_each_thread_and_no_more(archive, client):
    def planned():
        for taken, job in enumerate(made_jobs(40), 1):
            assert taken - len(ended) <= PER_THREAD * 2
            yield job

    summary = run(archive, planned(), client, work=count)
    assert summary.done == 40
    assert summary.most_in_flight == PER_THREAD * 2
    assert max(a - b for a, b in begun) <= 2


@pytest.mark.parametrize(
    ("budget", "expected"), [(Budget(jobs=3), 3), (Budget(hours=0), 0), (Budget(jobs=9), 9)]
)
def test_a_budget_ends_a_run_cleanly(archive, client, budget, expected):
    summary = run(archive, made_jobs(9), client, work=linger, budget=budget)
    assert summary.done == expected
    assert bool(summary.stopped) is (expected < 9)
    assert summary.in_flight == 0


def test_where_everything_fails_the_run_ends(archive, client):
    with pytest.raises(ReadError, match="one after the other, the last because") as caught:
        run(archive, made_jobs(3 * MOST_FAILURES), client, work=refuse, retries=0)
    assert "run the same command again" in str(caught.value)
    assert len(read_rows(archive, SQUARE)) >= MOST_FAILURES


def test_a_job_that_fails_once_is_tried_again(archive, client):
    assert run(archive, made_jobs(1), client, work=fail_once).done == 1
    assert len(begun) == 2


def test_an_error_of_python_is_named(archive, client):
    def work(archive, job):
        raise MemoryError("no\nroom")

    summary = run(archive, made_jobs(1), client, work=work, retries=0)
    assert summary.failures == [f"31UES {row_of(0).key}: MemoryError: no room"]


def test_workers_may_read_from_where_the_planner_was_led(archive, client, monkeypatch):
    reached = []
    monkeypatch.setattr(running, "reached", lambda: frozenset({"public", "loopback"}))
    monkeypatch.setattr(running, "reach", reached.extend)
    run(archive, made_jobs(1), client, work=pretend)
    assert set(reached) == {"public", "loopback"}


def test_dates_are_in_order_of_time_in_the_end(archive, client):
    backwards = made_jobs(4)[::-1]
    stopped = run(archive, backwards, client, work=write, budget=Budget(jobs=2))
    assert (stopped.done, stopped.sorted) == (2, 0)
    summary = run(archive, backwards, client, work=write)
    assert (summary.done, summary.skipped, summary.sorted) == (2, 2, 1)
    times = [row.time for row in read_rows(archive, SQUARE)]
    assert len(set(times)) == 4
    assert run(archive, backwards, client, work=write).sorted == 0
    # What is there already is in the ledger with its pixels, and no skipped date.
    assert {row.status for row in read_rows(archive, SQUARE)} == {"done"}


def test_what_is_provisional_becomes_final_in_one_commit(archive, client):
    for day in range(3):
        row = row_of(day, provisional=True)
        write(archive, Job("31UES", row, ()))
    old = read_rows(archive, SQUARE)
    assert all(row.provisional for row in old)
    before = commits(archive)
    notes = [Note("31UES", "settled", "already there", row) for row in old[:2]]
    summary = run(archive, notes, client)
    assert (summary.known, summary.settled) == (2, 2)
    assert [row.provisional for row in read_rows(archive, SQUARE)] == [False, False, True]
    assert commits(archive) == before + 1
    assert settle(archive, SQUARE, old[:2]) == 0
    # One that was replaced meanwhile is not what the planner saw.
    assert settle(archive, SQUARE, [replace(old[2], partners=("other",))]) == 0
    assert commits(archive) == before + 1


def test_ctrl_c_lets_go_of_what_is_in_flight(archive, client):
    def interrupted():
        yield from made_jobs(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(archive, interrupted(), client, work=count)
    time.sleep(0.3)
    assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0
    assert len(ended) <= 4
    assert read_rows(archive, SQUARE) == []


def end_worker(archive, job):
    """End the worker the first time, as a machine does that is taken away."""
    marker = f"{archive.url}/../{job.row.key}"
    if not os.path.exists(marker):
        open(marker, "w").close()
        os._exit(1)
    return pretend(archive, job)


def test_a_scene_is_mapped_by_a_cluster_of_this_machine(archive, scene):
    rounds = [Round(in_degrees((3.0200, 50.8155, 3.0225, 50.8175)), "2023-06")]
    with cluster(workers=2) as here:
        info = here.scheduler_info(n_workers=-1)
        addresses = (here.scheduler.address, *info["workers"])
        assert all("//127.0.0.1:" in address for address in addresses)
        port = info["services"]["dashboard"]
        assert {host for number, host in _listeners() if number == port} == {"127.0.0.1"}
        assert all(worker["nthreads"] == 1 for worker in info["workers"].values())
        assert all(worker["memory_limit"] for worker in info["workers"].values())
        summary = run(archive, steps(archive, rounds, catalog=scene), here)
        assert (summary.done, summary.failed, summary.failures) == (2, 0, [])
        rows = read_rows(archive, SQUARE)
        assert [row.status for row in rows] == ["done"] * 2
        assert all(row.valued > 100 for row in rows)
        before = commits(archive)
        again = run(archive, steps(archive, rounds, catalog=scene), here)
        assert (again.done, again.known) == (0, 2)
        assert commits(archive) == before
        # A lost worker: its job goes to another.
        lost = run(archive, made_jobs(2), here, work=end_worker, sort=False)
        assert (lost.done, lost.failed) == (2, 0)


def _listeners():
    """Ports and addresses on which this machine listens over IPv4."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    for _, local, _, state, *_ in map(str.split, lines):
        address, port = local.split(":")
        if state == "0A":
            yield int(port, 16), ".".join(str(b) for b in reversed(bytes.fromhex(address)))


@contextmanager
def started(*words):
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port():
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def said():
    """What Dask says to the user."""
    stream, logger = io.StringIO(), logging.getLogger("distributed")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_cluster_of_ones_own_and_what_happens_when_it_goes(archive, tmp_path, said):
    address = f"tcp://127.0.0.1:{free_port()}"
    listening = ("--host", address, "--no-dashboard")
    worker = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path / "w"))
    with (
        started("distributed.cli.dask_scheduler", *listening) as scheduler,
        started("distributed.cli.dask_worker", address, *worker, "--host", "127.0.0.1"),
        cluster(address) as client,
    ):
        assert run(archive, made_jobs(5), client, work=pretend).done == 5

        def planned():
            yield from made_jobs(2)
            scheduler.kill()
            yield from made_jobs(6)[2:]

        with pytest.raises(StoreWriteError, match="the cluster was lost after"):
            run(archive, planned(), client, work=linger)
    assert said.getvalue() == ""
    logging.getLogger("distributed").error("it is heard again")
    assert said.getvalue() == "it is heard again\n"


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr("gssm.archive.clusters.ANSWER_SECONDS", 0.5)
    with pytest.raises(RequestError, match="does not answer"), cluster("tcp://127.0.0.1:1"):
        pass
    with pytest.raises(RequestError, match="does not answer"), cluster("nonsense://here"):
        pass
    with pytest.raises(RequestError, match="has its own"), cluster("tcp://127.0.0.1:1", 3):
        pass


def test_a_cluster_starts_with_the_first_job(archive, client, monkeypatch):
    starts = []

    @contextmanager
    def starting(*words):
        starts.append(words)
        yield client
        starts.append("ended")

    monkeypatch.setattr("gssm.archive.clusters.cluster", starting)
    known = Note("31UES", "known", "already there", row_of(60))
    with cluster_when_used(workers=3) as (later, threads):
        assert threads == 3
        assert run(archive, [known], later, work=pretend).known == 1
    assert starts == []
    with cluster_when_used(workers=3) as (later, _):
        assert run(archive, [known, *made_jobs(3)], later, work=pretend).done == 3
        assert starts == [("", 3)]
    assert starts == [("", 3), "ended"]
    # One that somebody has is asked at once, before anything is planned.
    with cluster_when_used("tcp://there:1") as (_, threads):
        assert threads == 2
        assert starts[2:] == [("tcp://there:1", 0)]
    with pytest.raises(RequestError, match="cannot be started"), cluster_when_used(workers=-1):
        pass


def test_a_row_is_what_a_worker_sends_back():
    assert isinstance(pretend(None, made_jobs(1)[0]), Row)
