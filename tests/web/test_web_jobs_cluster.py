"""Predictions on processes that are killed, each of which imports all there is."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gssm.archive.area import in_degrees
from gssm.archive.clusters import NICENESS, cluster
from gssm.web.datasets import Datasets
from gssm.web.jobs import Jobs
from gssm.web.jobs_cluster import Workers
from gssm.web.jobs_work import Asked
from web_jobs import ended, scene, settings_of, wait_for

CHUNK = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a scene of some dozen chunks and its archive, and its box."""
    folder = tmp_path_factory.mktemp("scene")
    return folder, scene(folder, size=40, dates=1)


@contextmanager
def registry(place, tmp_path, workers):
    folder, _ = place
    settings = replace(settings_of(folder), data=tmp_path / "data")
    jobs = Jobs(settings, Datasets({}), workers=workers, chunk=CHUNK)
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.stop()


def submit(jobs, box):
    (date,) = jobs.catalog.dates(box, "2023-06")
    return jobs.submit(Asked(in_degrees(box), box, date), "me").id


def at_work(jobs, name):
    """Wait until a job has computed some of its chunks, and has some to go."""
    found = wait_for(lambda: (r := jobs.get(name)).is_final or (r.chunks_done > 1 and r))
    assert found is not True, jobs.get(name)
    assert found.chunks_done < found.chunks_total


def listening():
    """Addresses, as the system writes them, and inodes of sockets that listen, of TCP."""
    found = {}
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            words = line.split()
            if words[3] == "0A":
                found[words[9]] = words[1]
    return found


def sockets_of(pid):
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except OSError:  # closed meanwhile
            continue
    return {m[1] for m in (re.fullmatch(r"socket:\[(\d+)\]", link) for link in links) if m}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc, of Linux")
def test_a_worker_that_is_killed_loses_its_chunk_and_the_job_goes_on(place, tmp_path):
    before = set(listening())
    workers = Workers(open_=lambda: cluster(workers=1, background=True))
    with registry(place, tmp_path, workers) as jobs:
        name = submit(jobs, place[1])
        at_work(jobs, name)
        client = workers.client(lambda: None)
        ((pid, niceness),) = client.run(_who).values()
        assert niceness >= NICENESS
        seen = listening()
        ours = {i: seen[i] for p in (os.getpid(), pid) for i in sockets_of(p) if i in seen}
        assert set(ours) - before
        assert {address.split(":")[0] for i, address in ours.items() if i not in before} == {
            "0100007F"
        }
        port = client.scheduler_info()["services"]["dashboard"]
        for page in ("status", "info/main/workers.html", "json/counts.json", ""):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}")
        os.kill(pid, signal.SIGKILL)
        assert ended(jobs, name).state == "done"
        ((other, niceness),) = client.run(_who).values()
        assert other != pid
        assert niceness >= NICENESS
        again = submit(jobs, place[1])
        wait_for(lambda: jobs.get(again).chunks_total)
        jobs.remove(again)  # while the process works on it
        assert ended(jobs, again).state == "cancelled"
    wait_for(lambda: not Path(f"/proc/{other}").exists())


def _who():
    return os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def processes(port):
    """A scheduler and a worker of somebody else's."""
    python = (sys.executable, "-W", "ignore", "-m")
    here = ("--host", "127.0.0.1", "--no-dashboard")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = (
        (*python, "distributed.cli.dask_scheduler", *here, "--port", str(port)),
        (
            *(*python, "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", *here),
            *("--nthreads", "1", "--no-nanny", "--death-timeout", "60"),
        ),
    )
    started = [subprocess.Popen(w, env=environment, **quiet) for w in words]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_scheduler_that_is_killed_fails_the_job_and_the_next_finds_another(place, tmp_path):
    port = free_port()
    with registry(place, tmp_path, Workers(f"tcp://127.0.0.1:{port}")) as jobs:
        with processes(port) as (scheduler, _):
            name = submit(jobs, place[1])
            at_work(jobs, name)
            scheduler.kill()
            record = ended(jobs, name)
            assert record.state == "failed"
            assert record.message == (
                "the cluster that computes was lost; ask for the prediction again."
            )
        with processes(port):
            record = ended(jobs, submit(jobs, place[1]))
            assert record.state == "done", record
