"""docs/archive.md: its commands and Python run, its tables say what the code does."""

import contextlib
import inspect
import re
import shlex
import sys
import types
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest
import zarr
from shapely import to_geojson
from typer.testing import CliRunner

from gssm.archive import groups
from gssm.archive import run as running
from gssm.archive.acquisitions import read_rows, write_acquisition
from gssm.archive.ledger import why_not
from gssm.archive.packing import PACKINGS
from gssm.archive.repository import find_archive, read_session
from gssm.archive.tiles import parse
from gssm.cli import app
from planned import AREA, catalogue, cluster_here, row_of, write

PAGE = (Path(__file__).parents[2] / "docs" / "archive.md").read_text()
SQUARE = parse("31UES")
# What dask-kubernetes 2026.3 and dask-jobqueue 0.9 take, as far as the page gives it.
KUBERNETES = {"name", "image", "n_workers", "resources", "env", "worker_command"}
JOBQUEUE = {
    *("cores", "processes", "memory", "walltime", "interface", "security", "local_directory"),
    *("shared_temp_directory", "job_script_prologue", "worker_extra_args"),
}


def write_little(archive, job):
    """Write a job of which the first chunk alone has values."""
    empty, full = (
        {
            name: np.full((archive.chunk,) * 2, value(how), how.dtype)
            for name, how in PACKINGS.items()
        }
        for value in (lambda how: how.fill, lambda _: 1)
    )
    chunks = ((index, empty if n else full) for n, index in enumerate(job.row.coverage))
    return write_acquisition(archive, SQUARE, job.row, chunks)


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def tables(head):
    """Rows of the table whose first line this is, as lists of cells."""
    lines = iter(PAGE.splitlines())
    assert any(line == head for line in lines), head
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture(scope="module")
def client():
    with cluster_here() as here:
        yield here


@pytest.fixture
def here(client, tmp_path, monkeypatch, s3):
    """Put everything that the page names into a folder, and stubs in the place of pixels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gssm.archive.clusters.cluster", lambda *_: contextlib.nullcontext(client))
    real = running.run
    monkeypatch.setattr(
        "gssm.archive.run.run", lambda *args, **options: real(*args, **options, work=write_little)
    )
    (tmp_path / "fields.geojson").write_text(to_geojson(AREA))
    catalogue(tmp_path / "catalogue", days=8)  # three acquisitions
    return f"s3://{s3.bucket()}"


def run_commands(bucket):
    """Run the commands of gssm on the page one by one, with the catalogue that is here."""
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line.replace("s3://bucket", bucket))
        if words[0] != "gssm":
            continue
        if words[1:3] in (["archive", "build"], ["archive", "backfill"]):
            words += ["--catalog", "catalogue"]
        done = CliRunner().invoke(app, words[1:], env={"COLUMNS": "200", "TERM": "dumb"})
        assert done.exit_code == 0, (line, done.output)
        yield line


def test_the_commands_run(here, tmp_path):
    ran = list(run_commands(here))
    assert len(ran) == 7
    rows = read_rows(find_archive("flanders"), SQUARE)
    assert {row.status for row in rows} == {"done"}
    assert len(rows) == 3
    assert len(read_rows(find_archive(f"{here}/flanders"), SQUARE)) == 3
    assert (tmp_path / "failed.csv").read_text().startswith("square,time")


class Cluster(contextlib.nullcontext):
    """Stand for a cluster that only some keywords make."""

    allowed = frozenset()
    scheduler_address = "stand-in"

    def __init__(self, **options):
        assert set(options) <= self.allowed, options
        super().__init__(self)

    def scale(self, *_, **__):
        pass

    def shutdown(self):
        pass


class Gateway(Cluster):
    """Stand for dask-gateway."""

    def __init__(self, address, client, auth=None):
        super().__init__()
        self.client = client

    def cluster_options(self):
        return types.SimpleNamespace()

    def new_cluster(self, options):
        return self

    def get_client(self):
        return self.client


def stand_in(monkeypatch, name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def clusters(client, monkeypatch):
    """Stand-ins for the clusters of the page, all of which give the client of the tests."""
    local = {*inspect.signature(distributed.LocalCluster).parameters, "memory_limit"}
    made = {
        name: type(name, (Cluster,), {"allowed": frozenset(allowed)})
        for name, allowed in {
            "LocalCluster": local,
            "KubeCluster": KUBERNETES,
            "SLURMCluster": JOBQUEUE,
        }.items()
    }
    stand_in(monkeypatch, "dask_gateway", Gateway=partial(Gateway, client=client))
    stand_in(monkeypatch, "dask_kubernetes")
    stand_in(monkeypatch, "dask_kubernetes.operator", KubeCluster=made["KubeCluster"])
    stand_in(monkeypatch, "dask_jobqueue", SLURMCluster=made["SLURMCluster"])
    monkeypatch.setattr(distributed, "LocalCluster", made["LocalCluster"])
    monkeypatch.setattr(distributed, "Client", lambda _: contextlib.nullcontext(client))


def test_the_python_runs(here, clusters, tmp_path):
    commands = run_commands(here)
    assert "--dry-run" in next(commands)
    assert not (tmp_path / "flanders").exists()
    assert "archive build" in next(commands)
    names = {"__name__": "__main__"}
    done = []
    for code in blocks("python"):
        code = code.replace("s3://bucket", f"{here}/python").replace("/project", str(tmp_path))
        exec(compile(code, "archive.md", "exec"), names)
        if "def build(" in code:
            names["build"] = partial(names["build"], catalog=str(tmp_path / "catalogue"))
        if "build(c" in code and "def build(" not in code:
            done.append(names["summary"])
    assert names["newest"].message
    assert names["freed"] == 0
    # The second and third find in the bucket what the first has written.
    assert [summary.done for summary in done] == [3, 0, 0, 3]
    assert not any(summary.failed for summary in done)


@pytest.mark.parametrize("program", ["scheduler", "worker"])
def test_dask_knows_the_options(program):
    from distributed.cli import dask_scheduler, dask_worker

    command = {"scheduler": dask_scheduler, "worker": dask_worker}[program].main
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    lines = [
        line for line in "".join(blocks("sh")).splitlines() if line.startswith(f"dask {program}")
    ]
    (words,) = map(shlex.split, lines)
    given = {word for word in words if word.startswith("--")}
    assert {"--tls-ca-file", "--tls-cert", "--tls-key"} <= given <= known


def test_dask_knows_the_variables():
    names = set(re.findall(r"\b(DASK_[A-Z_]+)=", PAGE))
    assert len(names) == 5
    for name in names:
        path = name.removeprefix("DASK_").lower().replace("__", ".")
        assert dask.config.get(path, "unknown") != "unknown", path


def test_the_arrays_are_as_the_page_says(tmp_path):
    archive = archive_of_one(tmp_path)
    group = zarr.open_group(read_session(archive).store, mode="r")[SQUARE.group]
    rows = tables("| array | shape | type | step | no value |")
    assert [row[0].strip("`") for row in rows] == [*groups.PIXEL_VARIABLES, *groups.ALONG_TIME]
    for name, shape, dtype, step, fill in rows:
        array = groups.array(group, name.strip("`"))
        assert ", ".join(array.metadata.dimension_names) == shape
        assert array.dtype == dtype
        how = PACKINGS.get(name.strip("`"))
        if how is not None:
            assert str(array.attrs["_FillValue"]) == fill
            assert how.scale is None or float(step.split()[0]) == array.attrs["scale_factor"]


def archive_of_one(tmp_path):
    from gssm.archive.jobs import Job
    from gssm.archive.repository import create_archive

    archive = create_archive(tmp_path / "archive", chunk=100)
    write(archive, Job(SQUARE.name, row_of(0), ()))
    return archive


OLD = row_of(0, partners=("A", "B"), radar=("R",))
# By the words of the page: what comes, what is there, and whether anything is replaced.
CASES = {
    "nothing is there": (OLD, None, False),
    "the same inputs, where some pixels failed to be read, up to three times": (
        OLD,
        replace(OLD, failed=5, tries=2),
        False,
    ),
    "the same inputs, no more of the square": (OLD, replace(OLD, failed=5, tries=3), True),
    "anything else, with `--replace`": (replace(OLD, model_sha256="n", partners=()), OLD, True),
    "another model": (replace(OLD, model_sha256="n"), OLD, False),
    "radar of newer processing": (replace(OLD, processed="20250101"), OLD, False),
    "radar of older processing": (replace(OLD, processed="20230101"), OLD, False),
    "some of its optical images gone, none new": (
        replace(OLD, partners=("A",), coverage=((3, 4), (3, 5)), radar=("R", "S")),
        replace(OLD, provisional=True),
        False,
    ),
    "more of the square": (
        replace(OLD, partners=("B", "C"), coverage=((3, 4), (3, 5))),
        OLD,
        False,
    ),
    "more references of the past": (replace(OLD, past=1), OLD, False),
    "more slices of the radar": (
        replace(OLD, radar=("R", "S"), partners=("B", "C")),
        OLD,
        False,
    ),
    "provisional, and an optical image came that it had not": (
        replace(OLD, partners=("B", "C")),
        replace(OLD, provisional=True),
        False,
    ),
    "final, all its optical images and more": (replace(OLD, partners=("A", "B", "C")), OLD, False),
    "final, other optical images, some of its own gone": (
        replace(OLD, partners=("B", "C")),
        OLD,
        False,
    ),
    "no image that it had not": (OLD, replace(OLD, radar=("R", "S")), False),
}


def test_what_is_replaced_is_as_the_page_says():
    rows = tables("| what comes, beside what is there | it is |")
    assert [what for what, _ in rows] == list(CASES)
    for what, verdict in rows:
        new, old, replace_any = CASES[what]
        is_kept = bool(why_not(new, old, replace_any=replace_any))
        assert verdict == ("kept" if is_kept else "replaced" if old else "written"), what


def test_the_year_is_the_one_of_the_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import planet

    assert planet.table() in PAGE
