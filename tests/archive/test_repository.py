from __future__ import annotations

import datetime as dt
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import xarray as xr
import zarr
from chaos_processes import CONTEXT, started

from gssm.archive import opening, repository, storage, troubles, versions
from gssm.archive.repository import (
    Archive,
    SquareConflict,
    archive_exists,
    commit,
    create_archive,
    find_archive,
    open_repository,
    read_session,
    write_session,
)
from gssm.errors import ArchiveError, GssmError, RequestError
from s3_server import CREDENTIALS, S3, Fault


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Place for a new archive, local and in S3."""
    if request.param == "folder":
        return str(tmp_path / "new" / "archive")
    return f"s3://{request.getfixturevalue('s3').bucket()}/some/archive"


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.bucket()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were to be waited for; nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(troubles.time, "sleep", waited.append)
    return waited


def add(archive: Archive, name: str, value: float = 1.0) -> str:
    """Write a small array of a square and commit it."""
    session = write_session(archive)
    put(session, name, value)
    return commit(session, archive, name)


def put(session: icechunk.Session, name: str, value: float = 1.0) -> None:
    root = zarr.open_group(session.store, mode="r+")
    array = root.require_array(name, shape=(2000,), chunks=(1000,), dtype="f8", fill_value=-1.0)
    array[:] = np.full(2000, value)


def values(archive: Archive, name: str, version: Any = None) -> set[float]:
    array = zarr.open_array(read_session(archive, version).store, path=name, mode="r")
    return set(np.unique(array[:]).tolist())


def names(archive: Archive) -> set[str]:
    return set(zarr.open_group(read_session(archive).store, mode="r").array_keys())


# Addresses


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("S3://bucket/a", "s3://bucket/a"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("abfs://container/a", "az://container/a"),
        ("/data/x/../a", "/data/a"),
        ("file:///data/a", "/data/a"),
        (Path("/data/a/"), "/data/a"),
    ],
)
def test_an_address_has_one_form(given, meant):
    assert storage.parse_place(given).url == meant


def test_a_relative_folder_is_the_same_for_every_worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = create_archive("here", chunk=100)
    assert archive == Archive(str(tmp_path / "here"), 100)
    assert pickle.loads(pickle.dumps(archive)) == archive


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket", "a bucket and a path"),
        ("s3:///path", "a bucket and a path"),
        ("s3://bucket/a/../b", "a bucket and a path"),
        ("ftp://host/a", "ftp://"),
        ("", "no address"),
        (None, "no address"),
        (5, "no address"),
        ("a\0b", "no path"),
        ("s3://AKIA:hunter2@bucket/a", "in the environment"),
        ("az://container/a?sig=hunter2", "in the environment"),
    ],
)
def test_what_is_no_address_is_refused_and_no_secret_is_shown(url, says):
    with pytest.raises(RequestError, match=says) as caught:
        create_archive(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("chunk", [0, -100, 3, 100.0, True, "100", 20_000])
def test_a_chunk_that_does_not_divide_a_square(tmp_path, chunk):
    with pytest.raises(RequestError, match="divide"):
        create_archive(tmp_path / "a", chunk=chunk)
    assert not list(tmp_path.iterdir())


CLOUDS = ("AWS_", "GOOGLE_", "AZURE_", "IDENTITY_", "MSI_")


@pytest.fixture
def no_cloud(tmp_path, monkeypatch):
    """Leave no credentials of any cloud in sight."""
    for name in [name for name in os.environ if name.startswith(CLOUDS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(storage, "_vendor", lambda: "")


@pytest.mark.parametrize(
    ("environment", "file", "machine", "is_anonymous"),
    [
        ({}, "", "", True),
        (CREDENTIALS, "", "", False),
        ({"AWS_PROFILE": "work"}, "", "", False),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, "", "", False),
        ({}, ".aws/credentials", "", False),
        ({}, "", "Amazon EC2", False),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, "", "Amazon EC2", True),
        (CREDENTIALS | {"AWS_NO_SIGN_REQUEST": "YES"}, "", "", True),
    ],
)
@pytest.mark.usefixtures("no_cloud")
def test_s3_is_anonymous_without_credentials(
    tmp_path, monkeypatch, environment, file, machine, is_anonymous
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if file:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    monkeypatch.setattr(storage, "_vendor", lambda: machine)
    assert storage.is_s3_anonymous() is is_anonymous


def test_a_public_archive_is_read_without_credentials_and_a_signature(s3, bucket, monkeypatch):
    archive = create_archive(f"s3://{bucket}/a", chunk=100)
    assert all(is_signed for *_, is_signed in s3.requests)
    opening._opened.cache_clear()
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "1")
    with pytest.raises(ArchiveError, match="without credentials"):
        find_archive(archive.url)
    s3.publish(bucket)
    s3.requests.clear()
    assert find_archive(archive.url) == archive
    assert s3.requests
    assert not any(is_signed for *_, is_signed in s3.requests)


@pytest.mark.parametrize("endpoint", ["http://93.184.216.34", "ftp://127.0.0.1", "127.0.0.1:9000"])
def test_data_do_not_travel_in_the_clear(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(RequestError, match="AWS_ENDPOINT_URL"):
        find_archive("s3://bucket/a")


def test_an_endpoint_with_a_login_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://me:hunter2@minio.example.org")
    with pytest.raises(RequestError, match="without credentials") as caught:
        find_archive("s3://bucket/a")
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("no_cloud")
def test_other_clouds(monkeypatch):
    assert "bucket" in repr(storage.storage("gs://bucket/a"))
    with pytest.raises(RequestError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        storage.storage("az://container/a")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    assert isinstance(storage.storage("az://container/a"), icechunk.Storage)


# Creation


def test_an_archive_is_made_found_and_read_by_icechunk_alone(url):
    assert not archive_exists(url)
    archive = create_archive(url, chunk=500)
    assert archive == Archive(url, 500)
    assert archive_exists(url)
    assert find_archive(url) == archive
    assert create_archive(url, chunk=500) == archive
    tip = icechunk.Repository.open(storage.storage(url)).readonly_session("main")
    attrs = xr.open_zarr(tip.store, consolidated=False, chunks=None).attrs
    assert attrs["gssm_archive_format"] == 1
    assert attrs["chunk"] == 500
    assert attrs["Conventions"].startswith("CF-")
    assert versions.versions(archive)[0].message == "archive"


def test_nothing_but_the_archive_is_left(tmp_path):
    create_archive(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]
    create_archive(tmp_path / "empty-before-it".replace("-", "_"))
    assert sorted(os.listdir(tmp_path)) == ["a", "empty_before_it"]


def test_an_empty_folder_becomes_an_archive(tmp_path):
    (tmp_path / "a").mkdir()
    assert create_archive(tmp_path / "a").chunk == 1000


def test_other_chunks_are_refused(url):
    create_archive(url, chunk=500)
    with pytest.raises(ArchiveError, match="chunks of 500 pixels, not 1000"):
        create_archive(url)


@pytest.mark.parametrize(
    ("name", "says"),
    [("thesis.txt", "something else"), ("zarr.json", "a Zarr store"), (".zgroup", "a Zarr store")],
)
def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path, name, says):
    (tmp_path / name).write_text("years of work")
    with pytest.raises(ArchiveError, match=says):
        create_archive(tmp_path)
    assert (tmp_path / name).read_text() == "years of work"
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(ArchiveError, match=r"plain Zarr|there is none"):
        find_archive(tmp_path)
    assert os.listdir(tmp_path) == [name]


def test_a_file_in_the_place_or_on_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArchiveError, match="a file lies there"):
        create_archive(tmp_path / "file")
    with pytest.raises(ArchiveError, match="a file is in the way"):
        create_archive(tmp_path / "file" / "a")
    with pytest.raises(ArchiveError, match="there is none"):
        find_archive(tmp_path / "file")


def test_a_prefix_that_holds_something_is_refused(s3, bucket, waits):
    s3.put(bucket, "a/zarr.json", b"{}")
    with pytest.raises(ArchiveError, match="something else lies there"):
        create_archive(f"s3://{bucket}/a")
    assert s3.keys(bucket) == ["a/zarr.json"]


def test_a_repository_of_something_else_is_refused(url):
    place = storage.parse_place(url)
    if place.folder:
        place.folder.mkdir(parents=True)
    made = icechunk.Repository.create(storage.storage(url))
    session = made.writable_session("main")
    zarr.create_group(session.store, attributes={"of": "another"})
    session.commit("theirs")
    for call in (create_archive, find_archive):
        with pytest.raises(ArchiveError, match="not one of gssm"):
            call(url)
    assert made.lookup_branch("main") == session.snapshot_id


def test_another_format_is_refused(url):
    archive = create_archive(url)
    session = write_session(archive)
    zarr.open_group(session.store, mode="r+").attrs["gssm_archive_format"] = 2
    commit(session, archive, "of the future")
    with pytest.raises(ArchiveError, match="format is version 2"):
        find_archive(url)


def test_a_creation_that_was_killed_is_finished(s3, bucket):
    url = f"s3://{bucket}/a"
    icechunk.Repository.create(storage.storage(url), config=repository._config())
    with pytest.raises(ArchiveError, match="not one of gssm"):
        find_archive(url)
    assert create_archive(url, chunk=100) == find_archive(url)


def create_and_add(url: str, name: str, barrier: Any) -> None:
    barrier.wait(60)
    archive = create_archive(url, chunk=100)
    for part in range(3):
        add(archive, f"{name}-{part}")


def test_processes_create_and_commit_at_once(url, s3, tmp_path):
    workers = 3
    barrier, log = CONTEXT.Barrier(workers), tmp_path / "log"
    how = {"environment": s3.environment, "log": log}
    runs = [started(create_and_add, url, f"p{n}", barrier, **how) for n in range(workers)]
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * workers, log.read_text()
    archive = find_archive(url)
    assert names(archive) == {f"p{n}-{part}" for n in range(workers) for part in range(3)}
    messages = [version.message for version in versions.versions(archive)]
    assert len(messages) == 2 + 3 * workers
    if archive.url.startswith("/"):
        assert os.listdir(Path(archive.url).parent) == ["archive"]


# Commits


def test_squares_do_not_disturb_each_other(url):
    archive = create_archive(url)
    sessions = {name: write_session(archive) for name in ("31UDS", "31UES", "32ULB")}
    for name, session in sessions.items():
        put(session, name)
    ids = [commit(session, archive, name) for name, session in sessions.items()]
    assert names(archive) == set(sessions)
    assert [version.id for version in versions.versions(archive)][:3] == ids[::-1]


def test_the_second_writer_of_a_square_is_told_and_can_copy(url):
    archive = create_archive(url)
    add(archive, "31UDS", 0.0)
    first, second = write_session(archive), write_session(archive)
    put(first, "31UDS", 1.0)
    put(second, "31UDS", 2.0)
    commit(first, archive, "first")
    with pytest.raises(SquareConflict, match="same square") as caught:
        commit(second, archive, "second")
    assert isinstance(caught.value, ArchiveError)
    assert values(archive, "31UDS") == {1.0}
    # What it computed is not lost: it is copied into a new transaction.
    lost = zarr.open_array(second.store, path="31UDS", mode="r")[:]
    again = write_session(archive)
    zarr.open_array(again.store, path="31UDS", mode="r+")[:] = lost
    commit(again, archive, "second, again")
    assert values(archive, "31UDS") == {2.0}


def test_a_commit_rewrites_little(tmp_path):
    archive = create_archive(tmp_path / "a")
    folder = Path(archive.url) / "manifests"
    folder.mkdir()
    session = write_session(archive)
    root = zarr.open_group(session.store, mode="r+")
    sizes: dict[str, Any] = {"shape": (0, 100, 100), "chunks": (1, 10, 10)}
    root.create_array("v", **sizes, dtype="u2", dimension_names=("time", "y", "x"))
    commit(session, archive, "empty")
    rng, counts = np.random.default_rng(0), []
    for many in (repository.DATES_PER_MANIFEST, 1, 1):
        session = write_session(archive)
        array = zarr.open_array(session.store, path="v", mode="r+")
        before = array.shape[0]
        array.resize((before + many, 100, 100))
        array[before:] = rng.integers(0, 9999, (many, 100, 100), "u2")
        old = set(folder.iterdir())
        commit(session, archive, "dates")
        counts.append(sum(file.stat().st_size for file in set(folder.iterdir()) - old))
    assert counts[1] < counts[2] < counts[0] / 10


@pytest.mark.parametrize(
    "fault",
    [
        Fault("500", times=2),
        Fault("503", share=0.3),
        Fault("reset", times=2),
        Fault("truncated", method="GET", times=2),
        Fault("damaged", method="GET", times=2),
        Fault("slow", times=3),
        Fault("lost answer", path="ref.json", method="PUT", times=1),
        Fault("lost answer, reset", path="ref.json", method="PUT", times=1),
        Fault("lost answer", method="PUT", times=2),
    ],
    ids=lambda fault: f"{fault.kind} {fault.path}",
)
def test_passing_troubles_are_waited_for_and_a_commit_is_made_once(s3, bucket, waits, fault):
    archive = create_archive(f"s3://{bucket}/a")
    before = len(versions.versions(archive))
    session = write_session(archive)
    put(session, "mine")
    other = write_session(archive)
    put(other, "other")
    commit(other, archive, "other")
    s3.faults.append(fault)
    commit(session, archive, "mine")
    s3.faults.clear()
    assert fault.seen
    assert names(archive) == {"mine", "other"}
    assert len(versions.versions(archive)) == before + 2


def test_a_lost_answer_is_found_below_what_others_committed(s3, bucket, waits, monkeypatch):
    archive = create_archive(f"s3://{bucket}/a")
    session = write_session(archive)
    put(session, "mine")
    real = icechunk.Session.commit
    calls = []

    def lost(self: icechunk.Session, message: str, *rest: Any, **options: Any) -> str:
        found = real(self, message, *rest, **options)
        calls.append(message)
        if calls == ["mine"]:
            add(archive, "other")
            raise icechunk.IcechunkError("service error: InternalError")
        return found

    monkeypatch.setattr(icechunk.Session, "commit", lost)
    landed = commit(session, archive, "mine")
    assert calls == ["mine", "other"]
    assert [v.id for v in versions.versions(archive)][1] == landed


def test_a_storage_that_stays_away_is_given_up(url, waits, monkeypatch):
    archive = create_archive(url)
    tip = versions.versions(archive)[0]
    session = write_session(archive)
    put(session, "mine")

    def never(*_: Any, **__: Any) -> str:
        raise icechunk.IcechunkError("service error: SlowDown")

    monkeypatch.setattr(icechunk.Session, "commit", never)
    with pytest.raises(ArchiveError, match="overloaded"):
        commit(session, archive, "mine")
    assert len(waits) == troubles.ATTEMPTS - 1
    assert all(0 < seconds <= troubles.LONGEST_WAIT for seconds in waits)
    assert versions.versions(archive)[0] == tip


def test_what_cannot_be_read_is_not_taken_for_absent(s3, bucket, waits):
    archive = create_archive(f"s3://{bucket}/a")
    add(archive, "31UDS")
    opening._opened.cache_clear()
    s3.faults.append(Fault("denied", path="snapshots"))
    with pytest.raises(ArchiveError, match="access is denied"):
        write_session(archive)
    s3.faults[:] = [Fault("truncated", path="snapshots", times=2)]
    session = write_session(archive)
    # From here on, groups and arrays come from memory.
    s3.faults[:] = [Fault("denied", path="snapshots")]
    assert "31UDS" in zarr.open_group(session.store, mode="r+")


def hold(url: str, ready: Any) -> None:
    with repository.locked(url):
        ready.set()
        time.sleep(60)


def test_the_lock_of_a_folder_ends_with_the_process_that_holds_it(tmp_path, monkeypatch):
    archive = create_archive(tmp_path / "a")
    ready = CONTEXT.Event()
    holder = started(hold, archive.url, ready, environment={}, log=tmp_path / "log")
    assert ready.wait(30)
    monkeypatch.setattr(repository, "LOCK_SECONDS", 0.2)
    with pytest.raises(ArchiveError, match="lock"):
        add(archive, "mine")
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    add(archive, "mine")
    assert names(archive) == {"mine"}


# Errors


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("expired token", "expired; renew"),
        ("expired token, 403", "expired; renew"),
        ("wrong key", "not accepted"),
        ("denied", "access is denied"),
        ("wrong region", "AWS_REGION"),
        ("wrong region, 400", "AWS_REGION"),
    ],
)
@pytest.mark.parametrize("when", ["found", "read", "committed"])
def test_a_cloud_that_refuses_is_one_sentence(s3, bucket, waits, kind, says, when):
    archive = create_archive(f"s3://{bucket}/a")
    session = write_session(archive)
    put(session, "mine")
    if when == "found":
        opening._opened.cache_clear()
    s3.faults.append(Fault(kind))
    calls = {
        "found": lambda: find_archive(archive.url),
        "read": lambda: read_session(archive),
        "committed": lambda: commit(session, archive, "mine"),
    }
    with pytest.raises(ArchiveError, match=says) as caught:
        calls[when]()
    assert_sentence(caught.value, archive.url)
    assert not waits


def assert_sentence(error: GssmError, url: str) -> None:
    text = str(error)
    assert url in text
    assert "\n" not in text
    assert text.endswith(".")
    assert "icechunk" not in text
    shown = "".join(traceback.format_exception(error))
    assert not any(secret in shown for secret in CREDENTIALS.values())


def test_a_bucket_that_is_not_there(s3):
    for call in (find_archive, create_archive):
        with pytest.raises(ArchiveError, match="no such bucket"):
            call("s3://no-such-bucket/a")


def test_an_archive_that_is_not_there(s3, bucket, tmp_path):
    for url in (f"s3://{bucket}/a", str(tmp_path / "a")):
        with pytest.raises(ArchiveError, match="there is none; check") as caught:
            open_repository(url)
        assert_sentence(caught.value, url)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_host_that_is_away_is_waited_for_a_bounded_time(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    begun = time.monotonic()
    with pytest.raises(ArchiveError, match="does not answer"):
        find_archive("s3://bucket/a")
    assert time.monotonic() - begun < 120


def test_words_in_the_name_of_an_archive_are_no_errors():
    text = (
        "  x invalid snapshot id\n  | \n  | context:\n  |    0: icechunk::storage::get\n"
        '  |            with key="403/timeout/ExpiredToken"\n  | \n  `-> invalid snapshot id\n'
    )
    said = troubles.explain("/data/a", icechunk.IcechunkError(text))
    assert said == "archive /data/a: icechunk says: invalid snapshot id; run again."
    assert not troubles.is_transient(icechunk.IcechunkError(text))


def test_other_errors_pass_as_they_are(tmp_path):
    for error in (KeyError("x"), OSError(5, "of a scene", "/elsewhere/scene.tif"), TimeoutError()):
        with pytest.raises(type(error)) as caught, troubles.archiving(tmp_path / "a"):
            raise error
        assert caught.value is error


FULL_DISK = """
import resource, sys
import numpy as np, zarr
from gssm.archive.repository import commit, find_archive, write_session
from gssm.errors import ArchiveError
from gssm.archive.troubles import archiving
archive = find_archive(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with archiving(archive.url):
        session = write_session(archive)
        root = zarr.open_group(session.store, mode="r+")
        array = root.create_array("v", shape=(9999,), chunks=(9999,), dtype="f8")
        array[:] = np.random.default_rng(0).random(9999)
        commit(session, archive, "v")
except ArchiveError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_leaves_the_archive_as_it_was(tmp_path):
    archive = create_archive(tmp_path / "a")
    tip = versions.versions(archive)
    command = [sys.executable, "-c", FULL_DISK, archive.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert re.search("larger than is allowed|disk is full", done.stdout), done
    assert archive.url in done.stdout
    assert done.stdout.count("\n") == 1
    assert versions.versions(archive) == tip


@pytest.mark.parametrize(
    ("number", "says"),
    [(28, "disk is full"), (30, "read-only"), (13, "permission"), (122, "quota")],
)
def test_what_the_disk_says(tmp_path, monkeypatch, number, says):
    archive = create_archive(tmp_path / "a")
    session = write_session(archive)
    put(session, "v")
    text = f"object store error Generic LocalFileSystem error (os error {number})"
    assert says in str(troubles.explain(archive.url, icechunk.IcechunkError(text)))

    def refuse(path: Any, *_: Any) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(repository.os, "open", refuse)
    with pytest.raises(ArchiveError, match=says):
        commit(session, archive, "v")


@pytest.mark.parametrize(
    ("part", "harm", "says"),
    [
        ("snapshots", "cut", "damaged"),
        ("snapshots", "gone", "missing"),
        ("manifests", "cut", "damaged"),
        ("chunks", "cut", "damaged"),
        ("chunks", "gone", "missing"),
    ],
)
def test_damage_on_disk_is_said(tmp_path, waits, part, harm, says):
    archive = create_archive(tmp_path / "a")
    session = write_session(archive)
    array = zarr.open_group(session.store, mode="r+").create_array(
        "v", shape=(9999,), chunks=(9999,), dtype="f8", compressors=None
    )
    array[:] = np.random.default_rng(0).random(9999)
    commit(session, archive, "v")
    opening._opened.cache_clear()
    for file in (Path(archive.url) / part).iterdir():
        if harm == "gone":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ArchiveError, match=says), troubles.archiving(archive.url):
        zarr.open_array(read_session(archive).store, path="v", mode="r")[:]


# Versions


def test_every_version_can_be_read_until_it_expires(url, monkeypatch):
    archive = create_archive(url)
    first = add(archive, "31UDS", 1.0)
    between = dt.datetime.now(dt.UTC)
    second = add(archive, "31UDS", 2.0)
    assert values(archive, "31UDS") == {2.0}
    assert values(archive, "31UDS", first) == {1.0}
    assert values(archive, "31UDS", between) == {1.0}
    assert values(archive, "31UDS", between.isoformat()) == {1.0}
    assert values(archive, "31UDS", between.replace(tzinfo=None)) == {1.0}
    assert versions.expire(archive) == 0
    assert versions.collect_garbage(archive) == 0
    assert values(archive, "31UDS", first) == {1.0}

    monkeypatch.setattr(versions, "LEAST_GARBAGE", dt.timedelta(0))
    assert versions.expire(archive, dt.timedelta(0)) > 0
    assert versions.versions(archive)[0].id == second
    assert versions.collect_garbage(archive, dt.timedelta(0)) > 0
    assert values(archive, "31UDS") == {2.0}
    opening._opened.cache_clear()
    with pytest.raises(ArchiveError, match="no such version any more"):
        read_session(archive, first)
    with pytest.raises(ArchiveError, match="no such version"):
        read_session(archive, dt.datetime(2000, 1, 1))
    add(archive, "31UDS", 3.0)
    assert values(archive, "31UDS") == {3.0}


@pytest.mark.parametrize("version", ["yesterday", "", 5, "8NYADVKXAWYY8DKBS7"])
def test_what_is_no_version(tmp_path, version):
    archive = create_archive(tmp_path / "a")
    with pytest.raises(RequestError, match="version"):
        read_session(archive, version)


@pytest.mark.parametrize("age", [dt.timedelta(hours=1), dt.timedelta(days=-1), 30, None])
def test_garbage_of_today_may_be_a_run_of_today(tmp_path, age):
    archive = create_archive(tmp_path / "a")
    with pytest.raises(RequestError, match="older_than"):
        versions.collect_garbage(archive, age)


# Processes


def test_a_repository_is_opened_once_and_again_with_new_credentials(s3, bucket, monkeypatch):
    archive = create_archive(f"s3://{bucket}/a")
    opened = open_repository(archive)
    assert open_repository(archive.url) is opened
    monkeypatch.setenv("AWS_SESSION_TOKEN", "renewed")
    assert open_repository(archive) is not opened


def test_icechunk_is_not_imported_before_it_is_needed():
    code = "import sys, gssm; print('icechunk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
