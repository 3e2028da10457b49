"""Chaos: a run of forty jobs whose processes are killed and whose storage fails, and its end.

A scheduler, two workers, a client and a reader run as processes of their own. At random moments
of the work one of them is killed (SIGKILL), or the storage fails for some requests. Who is dead
is started again by the same command, until the run is done; then the archive must be that of
a run that nobody disturbed, bit for bit.

    python tests/archive/chaos.py --kills 200 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from chaos_jobs import AGAIN, CHUNK, DONE, MARKS, chaos_jobs, drive, older_jobs, pixels_of, work
from chaos_processes import scheduler, started, worker
from chaos_watch import differences, truth_of, watch

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.opening import Archive
from gssm.archive.repository import create_archive
from gssm.archive.run import run
from gssm.archive.tiles import parse
from planned import cluster_here
from s3_server import S3, Fault, served_s3

KILLS = ("worker", "client", "scheduler")
# Faults of the storage, each for so many requests at most.
FAULTS = {"500": 30, "503": 30, "slow": 40, "truncated": 20, "lost answer": 20, "reset": 30}
WORKERS = 2
JOBS = 40
# Marks that each job leaves, at least, of chunks and commits; the last disturbance is there then.
MARKS_PER_JOB = 1.75
# Seconds: how long after a mark one strikes (a job takes some 0.2); guards against hanging.
LATEST, HANGS, PAUSE = 0.6, 900.0, 0.03


@dataclass(frozen=True)
class Undisturbed:
    """An archive of so many jobs, and the file that says what every date holds."""

    archive: Archive
    truth: Path
    jobs: int


@dataclass
class Report:
    """What a round of disturbances was, and what came of it."""

    place: str
    seed: int
    strikes: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    watched: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it in one line."""
        seen = {k: v for k, v in self.watched.items() if isinstance(v, int)}
        return (
            f"{self.place} seed {self.seed}: {len(self.strikes)} disturbances in "
            f"{self.seconds:.0f} s ({', '.join(self.strikes)}); {seen}; clients {dict(self.ends)}; "
            f"{'WRONG: ' + '; '.join(self.wrong) if self.wrong else 'as undisturbed'}"
        )


def undisturbed(folder: Path, jobs: int = JOBS) -> Undisturbed:
    """Run so many jobs in peace; and write down what every date holds, older versions too."""
    archive = create_archive(folder / "undisturbed", chunk=CHUNK)
    with cluster_here(1) as client:
        summary = run(archive, chaos_jobs()[:jobs], client, work=work)
    assert (summary.failed, summary.sorted, summary.finished) == (0, 3, jobs), summary
    older = create_archive(folder / "older", chunk=CHUNK)
    for job in older_jobs():
        write_acquisition(older, parse(job.square), job.row, pixels_of(job.row, job.square))
    truth = folder / "truth.json"
    truth.write_text(json.dumps(truth_of(older, archive)))
    return Undisturbed(archive, truth, jobs)


class Cluster:
    """The processes of a run, each started again when it has ended."""

    def __init__(
        self, archive: Archive, jobs: int, folder: Path, environment: dict[str, str]
    ) -> None:
        self.jobs = jobs
        self.archive, self.folder, self.log = archive, folder, folder / "log"
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        self.environment = {**environment, MARKS: str(self.marks)}
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.running: dict[str, Any] = {}
        self.killed: set[int] = set()
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.is_done = False

    def start(self, name: str) -> None:
        """Start a process."""
        how = {"environment": self.environment, "log": self.log}
        if name == "scheduler":
            words = ("--no-dashboard", "--host", self.address)
            self.running[name] = started(scheduler, *words, **how)
        elif name == "client":
            self.running[name] = started(
                drive, self.archive.url, self.address, str(self.jobs), **how
            )
        else:
            words = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
            place = ("--local-directory", str(self.folder / "dask"))
            self.running[name] = started(worker, self.address, *words, *place, **how)

    def tend(self) -> None:
        """Start again who has ended, until the client has ended well."""
        for name in ("scheduler", *(f"worker {n}" for n in range(WORKERS)), "client"):
            process = self.running.get(name)
            if process is None or process.exitcode is not None:
                if process is not None and name == "client":
                    self._count(process)
                if not self.is_done:
                    self.start(name)

    def _count(self, process: Any) -> None:
        code = process.exitcode
        what = {DONE: "done", AGAIN: "again"}.get(code, f"code {code}")
        self.ends["killed" if process.pid in self.killed else what] += 1
        self.is_done = code == DONE
        if process.pid not in self.killed and code not in (DONE, AGAIN):
            self.wrong.append(f"the client ended with {code}, see {self.folder / 'log'}")

    def count(self) -> int:
        """Count the marks that workers have left."""
        return sum(path.stat().st_size for path in self.marks.iterdir() if path.name.isdigit())

    def at_work(self, kind: str) -> list[str]:
        """Names of processes of a kind that have begun their work."""
        marks = {path.name for path in self.marks.iterdir()}
        client = self.running["client"]
        if f"client-{client.pid}" not in marks or client.exitcode is not None:
            return []
        workers = [n for n, p in self.running.items() if str(p.pid) in marks and p.exitcode is None]
        return workers if kind == "worker" else [kind]

    def kill(self, name: str) -> None:
        """End a process without a word."""
        process = self.running[name]
        self.killed.add(process.pid)
        process.kill()
        process.join()

    def close(self) -> None:
        """End them all."""
        for process in self.running.values():
            process.kill()
            process.join()


def free_port() -> int:
    """Return a port on which nobody listens."""
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def watched(cluster: Cluster, truth: Path) -> Iterator[dict[str, Any]]:
    """Let a reader look at the archive all the while; what it saw is there in the end."""
    report, stop = cluster.folder / "watched.json", cluster.folder / "stop"
    names = (cluster.archive.url, str(truth), str(report), str(stop))
    process = started(watch, *names, environment=cluster.environment, log=cluster.log)
    seen: dict[str, Any] = {}
    try:
        yield seen
        stop.touch()
        process.join(HANGS)
        assert process.exitcode == 0, f"the reader ended with {process.exitcode}"
        seen.update(json.loads(report.read_text()))
    finally:
        process.kill()
        process.join()


def plan(kinds: Sequence[str], jobs: int, rng: random.Random) -> list[tuple[int, str]]:
    """Return after how many marks each disturbance comes; the last one as the run ends."""
    last = int(MARKS_PER_JOB * jobs)
    early = sorted(rng.randrange(1, last) for _ in kinds[1:])
    return list(zip([*early, last], rng.sample(kinds, k=len(kinds)), strict=True))


def disturb(
    archive: Archive, peace: Undisturbed, kinds: Sequence[str], seed: int, folder: Path, s3: S3
) -> Report:
    """Run all jobs with disturbances, and compare what comes of it."""
    rng, report, began = random.Random(seed), Report(archive.url, seed), time.monotonic()
    environment = s3.environment if archive.url.startswith("s3") else {}
    cluster = Cluster(archive, peace.jobs, folder, environment)
    with ExitStack() as stack:
        stack.callback(cluster.close)
        cluster.tend()
        report.watched = stack.enter_context(watched(cluster, peace.truth))
        waiting = plan(kinds, peace.jobs, rng)
        while not cluster.is_done:
            if time.monotonic() - began > HANGS:
                raise TimeoutError(f"it hangs after {report.strikes}; see {folder / 'log'}")
            if waiting and cluster.count() >= waiting[0][0]:
                at, kind = waiting[0]
                if strike(cluster, kind, rng, s3):
                    report.strikes.append(f"{kind} at {at}")
                    waiting.pop(0)
            cluster.tend()
            time.sleep(PAUSE)
        s3.faults.clear()
    report.ends, report.seconds = cluster.ends, time.monotonic() - began
    seen = report.watched["violations"]
    report.wrong = [*cluster.wrong, *seen, *differences(peace.archive, archive)]
    return report


def strike(cluster: Cluster, kind: str, rng: random.Random, s3: S3) -> bool:
    """Kill a process that is at work, or spoil the storage's next answers; False: not yet."""
    names = cluster.at_work(kind)
    if not names:
        return False
    time.sleep(rng.uniform(0, LATEST))
    if kind in KILLS:
        cluster.kill(rng.choice(names))
    else:
        method = "GET" if kind == "truncated" else ""  # other answers are empty
        times = rng.randint(FAULTS[kind] // 4, FAULTS[kind])
        s3.faults.append(Fault(kind, method=method, times=times))
    return True


def place_of(scheme: str, folder: Path, s3: S3) -> Archive:
    """Make an archive in a folder or a bucket."""
    if scheme == "local":
        return create_archive(folder / "archive", chunk=CHUNK)
    return create_archive(f"s3://{s3.bucket()}/archive", chunk=CHUNK)


def main() -> None:
    """Disturb runs, in a folder and on S3 in turns, so many times in all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--together", type=int, default=10, help="disturbances of one run")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gssm-chaos-"))
    done, wrong, seed = 0, 0, options.seed
    with served_s3() as s3:
        os.environ.update(s3.environment)
        peace = undisturbed(folder)
        while done < options.kills:
            scheme = ("local", "s3")[seed % 2]
            number = min(options.together, options.kills - done)
            every = KILLS if scheme == "local" else (*KILLS, *FAULTS)
            kinds = list(islice(cycle(every), number))
            here = folder / f"{seed}"
            here.mkdir()
            report = disturb(place_of(scheme, here, s3), peace, kinds, seed, here, s3)
            print(report.line(), flush=True)
            done, seed, wrong = done + len(report.strikes), seed + 1, wrong + bool(report.wrong)
            s3.requests.clear()
            if not report.wrong:
                shutil.rmtree(here)
    print(f"{done} disturbances; {wrong} runs were wrong" + (f", see {folder}" if wrong else ""))
    if not wrong:
        shutil.rmtree(folder)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
