import asyncio
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from gssm.errors import EmptySearchError, ReadError, RequestError
from gssm.web import jobs as registries
from gssm.web import jobs_watch
from gssm.web.datasets import Datasets, UnknownDatasetError
from gssm.web.jobs_cluster import Workers
from gssm.web.jobs_records import Record, now
from gssm.web.jobs_work import ClusterLostError
from gssm.web.lanes import BusyError
from gssm.web.problems import NotFoundError, TooManyRequestsError
from gssm.web.settings import Limits
from web_jobs import (
    BOX,
    DATE,
    Work,
    asked,
    ended,
    registry,
    settings_of,
    wait_for,
    write_small,
)


def folders(jobs):
    """Names of the folders of jobs."""
    return {path.name for path in jobs._folder.path.iterdir() if path.name[0] != "."}


def test_a_job_is_queued_run_and_served_as_a_dataset(tmp_path):
    work = Work()
    with registry(tmp_path, work) as jobs:
        record = jobs.submit(asked(title="my field"), "me")
        assert (record.state, record.title, record.date) == ("queued", "my field", DATE.id)
        assert re.fullmatch("[0-9a-f]{16}", record.id)
        running = wait_for(lambda: (found := jobs.get(record.id)).chunks_total and found)
        assert (running.state, running.chunks_done, running.chunks_total) == ("running", 1, 3)
        assert running.started is not None
        assert running.ended is None
        with pytest.raises(UnknownDatasetError):
            jobs.datasets.get(record.id)
        work.go.set()
        done = ended(jobs, record.id)
        assert (done.state, done.message) == ("done", "")
        dataset = jobs.datasets.get(record.id)
        assert (dataset.kind, dataset.title) == ("job", "my field")
        assert jobs.list() == [done]
    (order,) = work.begun
    assert order.date == DATE.row


def test_without_a_title_a_job_is_named_by_date_and_place():
    assert asked().name == "2023-06-03 at 50.805, 3.025"
    assert asked(bbox=(179.0, -1.0, -179.0, 1.0)).name == "2023-06-03 at 0.000, -180.000"


def test_one_job_runs_at_a_time_in_the_order_in_which_they_came(tmp_path):
    work = Work()
    with registry(tmp_path, work, limits=Limits(jobs_per_client=9)) as jobs:
        names = [jobs.submit(asked(title=str(n)), "me").id for n in range(3)]
        wait_for(lambda: work.begun)
        assert [jobs.get(name).state for name in names] == ["running", "queued", "queued"]
        assert jobs.get(names[2]).message == "1 wait before it"
        assert [record.id for record in jobs.list()] == names[::-1]
        work.go.set()
        assert [ended(jobs, name).state for name in names] == ["done"] * 3
    times = [(record.started, record.ended) for record in map(jobs.get, names)]
    assert times == sorted(times)


def test_more_threads_run_more_jobs_at_once(tmp_path):
    work = Work()
    with registry(tmp_path, work, limits=Limits(jobs_running=2)) as jobs:
        for _ in range(2):
            jobs.submit(asked(), "me")
        wait_for(lambda: len(work.begun) == 2)
        work.go.set()


def test_a_client_and_the_queue_have_limits(tmp_path):
    work = Work()
    with registry(tmp_path, work, limits=Limits(jobs_per_client=2, jobs_queued=3)) as jobs:
        first = jobs.submit(asked(), "me").id
        wait_for(lambda: work.begun)
        jobs.submit(asked(), "me")
        with pytest.raises(TooManyRequestsError, match="2 predictions from this address") as caught:
            jobs.submit(asked(), "me")
        assert caught.value.seconds > 1
        for _ in range(2):
            jobs.submit(asked(), "you")
        with pytest.raises(TooManyRequestsError, match="3 predictions wait already"):
            jobs.submit(asked(), "they")
        assert len(folders(jobs)) == 4
        work.go.set()
        ended(jobs, first)
        wait_for(lambda: all(record.is_final for record in jobs.list()))
        assert jobs.submit(asked(), "me").state == "queued"


def test_a_job_that_waits_is_cancelled_at_once(tmp_path):
    work = Work()
    with registry(tmp_path, work) as jobs:
        jobs.submit(asked(), "me")
        wait_for(lambda: work.begun)
        waiting = jobs.submit(asked(), "me").id
        cancelled = jobs.remove(waiting)
        assert (cancelled.state, cancelled.started) == ("cancelled", None)
        assert jobs.submit(asked(), "me").state == "queued"  # it counts no more
        work.go.set()
        wait_for(lambda: all(record.is_final for record in jobs.list()))
    assert len(work.begun) == 2


def test_a_job_that_runs_is_cancelled_and_leaves_no_archive(tmp_path):
    def work(order, url, client, control):
        write_small(url)
        Work()(order, url, client, control)

    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        wait_for(lambda: jobs.get(name).chunks_done)
        assert jobs.remove(name).message == "it is being cancelled"
        record = ended(jobs, name)
        assert (record.state, record.message) == ("cancelled", "")
        assert not (jobs._folder.path / name / "archive").exists()
        with pytest.raises(UnknownDatasetError):
            jobs.datasets.get(name)
        assert jobs.remove(name) is None
        assert folders(jobs) == set()


def test_a_job_that_was_done_before_it_heard_is_cancelled_all_the_same(tmp_path):
    is_written, go = threading.Event(), threading.Event()

    def work(order, url, client, control):
        write_small(url)
        is_written.set()
        assert go.wait(60)
        return ""

    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        assert is_written.wait(60)
        jobs.remove(name)
        go.set()
        assert ended(jobs, name).state == "cancelled"
        with pytest.raises(UnknownDatasetError):
            jobs.datasets.get(name)


def test_a_job_that_has_ended_is_removed_with_its_dataset(tmp_path):
    with registry(tmp_path) as jobs:
        name = jobs.submit(asked(), "me").id
        ended(jobs, name)
        jobs.datasets.get(name)
        assert jobs.remove(name) is None
        for unknown in (name, "", "x" * 99, "../main"):
            with pytest.raises(NotFoundError, match="there is no job"):
                jobs.remove(unknown)
        with pytest.raises(UnknownDatasetError):
            jobs.datasets.get(name)
        assert folders(jobs) == set()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EmptySearchError("no map can be made: a reason."), "no map can be made: a reason."),
        (
            ReadError("archive {data}/jobs/1/archive: https://x.org/a.tif cannot be read."),
            "archive the server's folder: an address cannot be read.",
        ),
        (ReadError("the catalogue /opt/very/secret is none."), "a file of the server"),
        (
            KilledWorker("chunk", SimpleNamespace(address="tcp://secret:1"), 3),
            "it ended the processes that took it",
        ),
        (ZeroDivisionError("at /etc/secret"), r"internal error [0-9a-f]{12}; the log"),
        (MemoryError(), r"internal error [0-9a-f]{12}; the log"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_told_in_one_sentence_without_paths(tmp_path, error, message):
    def work(order, url, client, control):
        write_small(url)
        raise type(error)(*(str(a).format(data=tmp_path / "data") for a in error.args[:1]))

    def killed(order, url, client, control):
        raise error

    work = killed if isinstance(error, KilledWorker) else work
    with registry(tmp_path, work) as jobs:
        record = ended(jobs, jobs.submit(asked(), "me").id)
        assert record.state == "failed"
        assert re.search(message, record.message)
        assert "secret" not in record.message
        assert str(tmp_path) not in record.message
        assert not (jobs._folder.path / record.id / "archive").exists()
        again = ended(jobs, jobs.submit(asked(), "me").id)  # the thread lives
        assert again.state == "failed"


def test_what_is_done_is_served_again_after_a_restart(tmp_path):
    with registry(tmp_path) as jobs:
        name = jobs.submit(asked(), "me").id
        before = ended(jobs, name)
    with registry(tmp_path) as jobs:
        assert jobs.list() == [before]
        assert jobs.datasets.get(name).title == before.title
    jobs.start()  # the same one again
    assert jobs.list() == [before]
    assert jobs.datasets.get(name).title == before.title
    jobs.stop()


def test_what_ran_when_the_server_stopped_has_failed(tmp_path):
    work = Work()
    with registry(tmp_path, work) as jobs:
        names = [jobs.submit(asked(), "me").id for _ in range(2)]
        wait_for(lambda: work.begun)
    with pytest.raises(BusyError, match="about to end"):
        jobs.submit(asked(), "me")
    with registry(tmp_path) as jobs:
        for record in map(jobs.get, names):
            assert record.state == "failed"
            assert "the server was stopped" in record.message
            assert record.ended is not None
            assert not (jobs._folder.path / record.id / "archive").exists()
    with registry(tmp_path) as jobs:
        assert {record.state for record in jobs.list()} == {"failed"}


@contextmanager
def kept(tmp_path, **changes):
    """The folder of jobs with one record in it."""
    record = Record("0" * 16, "kept", DATE.id, BOX, now(), state="done", ended=now())
    record = replace(record, **changes)
    folder = tmp_path / "data" / "jobs" / record.id
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(asdict(record)))
    yield folder


def test_a_server_that_was_killed_leaves_no_half_of_a_job(tmp_path):
    with kept(tmp_path, state="running", ended=None) as folder:
        (folder / "archive").mkdir()
        (folder.parent / ".gone-1" / "archive").mkdir(parents=True)
        with registry(tmp_path) as jobs:
            assert jobs.get(folder.name).state == "failed"
            assert not (folder / "archive").exists()
            assert not (folder.parent / ".gone-1").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"id": "0"}', "[" * 100_000, '{"id":"' + "0" * 16 + '","bbox":3}'],
    ids=["empty", "cut", "a list", "null", "short", "deep", "wrong"],
)
def test_a_record_that_cannot_be_read_is_left_out(tmp_path, content):
    with kept(tmp_path) as folder:
        (folder / "job.json").write_text(content)
        (folder.parent / "something else").mkdir()
        with registry(tmp_path) as jobs:
            assert jobs.list() == []


def test_a_result_that_is_gone_is_told(tmp_path):
    with kept(tmp_path) as folder, registry(tmp_path) as jobs:
        record = jobs.get(folder.name)
        assert record.state == "failed"
        assert "cannot be read any more" in record.message


def test_two_servers_do_not_share_a_folder(tmp_path):
    with registry(tmp_path):
        other = registries.Jobs(settings_of(tmp_path), Datasets({}))
        with pytest.raises(RequestError, match="another server"):
            other.start()
        other.stop()
    with registry(tmp_path) as jobs:
        assert jobs.list() == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "data").write_text("")
    other = registries.Jobs(settings_of(tmp_path), Datasets({}))
    with pytest.raises(RequestError, match="choose another folder"):
        other.start()


def test_the_oldest_results_go(tmp_path, monkeypatch):
    monkeypatch.setattr(registries, "MOST_KEPT", 2)
    with registry(tmp_path, limits=Limits(jobs_per_client=9)) as jobs:
        names = [jobs.submit(asked(), "me").id for _ in range(4)]
        wait_for(lambda: {record.id for record in jobs.list()} == set(names[2:]))
        wait_for(lambda: all(record.is_final for record in jobs.list()))
        for name in names[:2]:
            with pytest.raises(UnknownDatasetError):
                jobs.datasets.get(name)
        wait_for(lambda: folders(jobs) == set(names[2:]))


def test_results_go_when_they_are_old(tmp_path, monkeypatch):
    with kept(tmp_path, ended="2020-01-01T00:00:00Z") as folder, registry(tmp_path) as jobs:
        assert jobs.list() == []
        assert not folder.exists()
    monkeypatch.setattr(registries, "LONGEST_KEPT", 0.0)
    monkeypatch.setattr(registries, "EXPIRY_SECONDS", 0.01)
    with registry(tmp_path) as jobs:
        jobs.submit(asked(), "me")
        wait_for(lambda: not jobs.list())


def test_a_full_disk_refuses_a_job_and_keeps_the_others(tmp_path, monkeypatch):
    work = Work()
    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        wait_for(lambda: work.begun)

        def refuse(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gssm.web.jobs_records.os.replace", refuse)
        with pytest.raises(OSError, match="could not keep the prediction"):
            jobs.submit(asked(), "me")
        assert len(jobs.list()) == 1
        folder = tmp_path / "data" / "jobs"
        wait_for(lambda: {p.name for p in folder.iterdir()} == {".lock", name})
        work.go.set()
        assert ended(jobs, name).state == "done"


def test_a_job_that_the_end_of_the_server_stops_can_be_cancelled(tmp_path):
    work = Work()
    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        wait_for(lambda: work.begun)
        jobs.stop()
        assert not jobs.get(name).is_final
        assert jobs.remove(name).state == "cancelled"


def watched(jobs, name, client="me", *, then=lambda record: None):
    """All that a client hears of a job."""

    async def listen():
        heard = []
        async for record in jobs.watch(name, client):
            heard.append(record)
            then(record)
        return heard

    return asyncio.run(asyncio.wait_for(listen(), 60))


def test_news_come_with_each_change_until_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_watch, "NEWS_SECONDS", 0.001)
    work = Work()
    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        heard = watched(jobs, name, then=lambda r: r.chunks_total and work.go.set())
        assert all(a != b for a, b in pairwise(heard))
        assert heard[-1].state == "done"
        assert heard[-1] == jobs.get(name)
        assert any(record.state == "running" and record.chunks_total == 3 for record in heard)
        assert watched(jobs, name) == heard[-1:]


def test_news_end_with_the_job_and_with_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_watch, "NEWS_SECONDS", 0.01)
    work = Work(is_free=True)
    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        ended(jobs, name)
        jobs.remove(name)
        assert watched(jobs, name) == []
        work.go.clear()
        running = jobs.submit(asked(), "me").id
        wait_for(lambda: jobs.get(running).chunks_total)
        stopping = threading.Timer(0.05, jobs.stop)
        stopping.start()
        assert watched(jobs, running)[-1].state == "running"
        stopping.join()


def test_news_are_for_a_bounded_number(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_watch, "MOST_WATCHED", 1)
    work = Work()
    with registry(tmp_path, work) as jobs:
        name = jobs.submit(asked(), "me").id
        jobs.refuse_watching(name, "me")
        with pytest.raises(NotFoundError):
            jobs.refuse_watching("0" * 16, "me")

        def refused(_):
            jobs.refuse_watching(name, "you")
            with pytest.raises(TooManyRequestsError, match="watched at once"):
                jobs.refuse_watching(name, "me")
            work.go.set()

        watched(jobs, name, then=refused)
        jobs.refuse_watching(name, "me")


class Clusters:
    """Clusters that open when they are let, and the clients that they gave."""

    def __init__(self):
        self.clients, self.closed, self.go, self.error = [], 0, threading.Event(), None

    @contextmanager
    def open(self):
        assert self.go.wait(60)
        if self.error:
            raise self.error
        client = SimpleNamespace(status="running")
        self.clients.append(client)
        yield client
        self.closed += 1


def test_the_cluster_is_started_by_the_first_job_and_kept(tmp_path):
    clusters = Clusters()
    with registry(tmp_path, workers=Workers(open_=clusters.open)) as jobs:
        name = jobs.submit(asked(), "me").id
        wait_for(lambda: jobs.get(name).message == "the cluster starts")
        clusters.go.set()
        ended(jobs, name)
        ended(jobs, jobs.submit(asked(), "me").id)
        assert len(clusters.clients) == 1
    assert clusters.closed == 1


def test_a_job_is_cancelled_while_the_cluster_starts(tmp_path):
    clusters = Clusters()
    with registry(tmp_path, workers=Workers(open_=clusters.open)) as jobs:
        name = jobs.submit(asked(), "me").id
        wait_for(lambda: jobs.get(name).state == "running")
        jobs.remove(name)
        assert ended(jobs, name).state == "cancelled"
        clusters.go.set()
        assert ended(jobs, jobs.submit(asked(), "me").id).state == "done"
        assert len(clusters.clients) == 1


def test_a_cluster_that_starts_when_the_server_stops_is_closed(tmp_path):
    clusters = Clusters()
    with registry(tmp_path, workers=Workers(open_=clusters.open)) as jobs:
        name = jobs.submit(asked(), "me").id
        wait_for(lambda: jobs.get(name).state == "running")
    clusters.go.set()
    wait_for(lambda: clusters.closed)


def test_a_cluster_that_does_not_start_fails_the_job_and_is_tried_again(tmp_path):
    clusters = Clusters()
    clusters.go.set()
    clusters.error = RequestError("the Dask scheduler tcp://10.1.2.3:8786 does not answer.")
    with registry(tmp_path, workers=Workers(open_=clusters.open)) as jobs:
        record = ended(jobs, jobs.submit(asked(), "me").id)
        assert record.state == "failed"
        assert record.message == "the Dask scheduler an address does not answer."
        clusters.error = None
        assert ended(jobs, jobs.submit(asked(), "me").id).state == "done"


def test_a_lost_cluster_is_started_again(tmp_path):
    clusters, losses = Clusters(), [ClusterLostError("the cluster was lost.")]
    clusters.go.set()

    def work(order, url, client, control):
        if losses:
            raise losses.pop()
        write_small(url)
        return ""

    with registry(tmp_path, work, workers=Workers(open_=clusters.open)) as jobs:
        record = ended(jobs, jobs.submit(asked(), "me").id)
        assert (record.state, record.message) == ("failed", "the cluster was lost.")
        assert ended(jobs, jobs.submit(asked(), "me").id).state == "done"
        assert len(clusters.clients) == 2
        clusters.clients[-1].status = "closed"  # while nothing runs
        assert ended(jobs, jobs.submit(asked(), "me").id).state == "done"
        assert len(clusters.clients) == 3
        wait_for(lambda: clusters.closed == 2)
