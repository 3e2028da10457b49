"""Every code block of README.md and of docs runs, on made-up data in the place of a user's own."""

from __future__ import annotations

import contextlib
import re
import shutil
import tomllib
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from archive.planned import cluster_here
from dask.base import named_schedulers
from shapely import to_geojson
from shapely.geometry import box
from starlette.testclient import TestClient
from typer.testing import CliRunner
from web.web_apps import settings_of

import docs_places as places
import gssm
from docs_blocks import OTHER, PYTHON, ROOT, SHELL, Block, blocks, commands, pages
from gssm.cli import app
from gssm.models.boosting import BoostingParams
from gssm.models.forest import ForestParams
from gssm.models.tabnet import TabNetParams
from gssm.simulate import simulate_scene
from gssm.training import crossval
from gssm.training.presets import PRESETS
from gssm.training.protocols import PROTOCOLS
from gssm.web.app import create_app

# Seconds; inside of what is tuned, so that a search begins with it.
SMALL = replace(
    PRESETS["tiny"],
    random_forest=ForestParams(trees=5, max_depth=6, min_samples_leaf=5, max_samples=0.9),
    xgboost=BoostingParams(rounds=50, max_depth=3, min_child_weight=5),
    tabnet=TabNetParams(n_d=4, n_a=4, n_steps=2, epochs=5, batch_size=256, virtual_batch_size=64),
)
WIDE = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
BOX = " ".join(map(str, places.BBOX))

# What pages write in the place of a user's own, and what stands there in the tests. The first
# that fits goes first; each is needed, or a test fails.
SUBSTITUTIONS = {
    "path/or/url/of/a/STAC/catalogue": "{catalogue}",
    "https://my.catalogue/stac": "{catalogue}",
    "planetary-computer": "{catalogue}",
    "CATALOGUE": "{catalogue}",
    "--archive ARCHIVE": "--archive flanders",
    "W S E N": "{box}",
    # The scene is of the summer of 2023.
    "2018-05-01/2018-09-30": "2023-06-01/2023-06-10",
    "2018-05": "2023-06",
    "2022-05/2023-04": "2023-06/2023-09",
    "2017-08/2018-11": "2023-06-01/2023-06-20",
    "--datetime 2023-05": "--datetime 2023-06",
    '"2024-06"': '"2023-06"',
    # An archive keeps its catalogue; one pass is enough.
    "--datetime 2024": "--datetime 2023-06-01/2023-06-05 --catalog {catalogue}",
    "s3://bucket/fields": "{folder}/fields",
    "3.03, 50.81": "3.0222, 50.8170",
    # Two stations, a few hundred metres from each other, teach nothing.
    "train samples.parquet": "train enough.parquet",
    "trials=40": "trials=1, folds=2",
    # What a reader fills in.
    "my-model ...": "my-model --catalog {catalogue} --bbox {box} --datetime 2023-06 --out a.zarr",
    # Any free port, and a small scene.
    "gssm serve": "gssm serve --port 0",
    "gssm demo": "gssm demo --size 40",
}
# Blocks that another test runs: its file, which names the page.
ELSEWHERE = {
    ("archive.md", *SHELL): "archive/test_layout_docs.py",
    ("archive.md", *PYTHON): "archive/test_layout_docs.py",
    ("archive-reading.md", *PYTHON): "archive/test_reading.py",
    ("compare.md", *PYTHON): "compare/test_docs.py",
}
# Names that a page leaves to its reader, by what the block begins with that first needs them.
GIVEN = {
    ("training.md", "model = gssm.train("): ("samples", "cube"),
    ("training.md", "history = gssm.history("): ("items", "items_of_a_year", "bbox"),
    ("quality.md", "from gssm.quality"): ("sm",),
}


def is_elsewhere(block: Block) -> bool:
    return any(block.page == page and block.kind in kinds for page, *kinds in ELSEWHERE)


def code() -> list[Block]:
    """Blocks that are run here."""
    found = [block for page in pages() for block in blocks(page)]
    return [b for b in found if b.kind in (*PYTHON, *SHELL) and not is_elsewhere(b)]


PAGES = sorted({block.page for block in code()})


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The scene, the tables, the files and the archive that all pages share."""
    folder = tmp_path_factory.mktemp("docs")
    simulate_scene(folder / "catalogue", size=places.SIZE, dates=places.DATES)
    made = places.tables(folder) | places.products(folder)
    links = {
        "Data_separate_files.zip": places.ismn(folder / "ismn.zip"),
        "ISMN_download.zip": folder / "ismn.zip",
        "normalized_data.pkl": places.published(folder),
        "stations.parquet": made["stations"],
        "stations_l2.parquet": made["samples"],
        "enough.parquet": made["samples"],
        "ESACCI-SOILMOISTURE.nc": made["cci"],
        "era5.nc": made["era5"],
        "rain.csv": places.rain(folder / "rain.csv"),
        "flanders": Path(places.demo_archive(folder).url),
        "fields.geojson": folder / "fields.geojson",
    }
    links["fields.geojson"].write_text(to_geojson(box(*places.BBOX)))
    return folder / "catalogue", links


@pytest.fixture(scope="module")
def client():
    with cluster_here() as here:
        yield here


@pytest.fixture
def place(shared, request, tmp_path, monkeypatch):
    """A folder with what the pages name, and stand-ins for what takes long or leaves the machine.

    Models are tiny, folds and jobs run in this process, `gssm serve` is asked once and ends.
    """
    catalogue, links = shared
    monkeypatch.chdir(tmp_path)
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    page = request.node.callspec.params["page"]
    if not any("gssm archive build" in b.text for b in code() if b.page == page):
        (tmp_path / "fields").symlink_to(links["flanders"])  # a page that builds none has one
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(PRESETS, "default", SMALL)
    monkeypatch.setattr("gssm.training.train.FOLDS", 2)
    for name, protocol in PROTOCOLS.items():
        monkeypatch.setitem(PROTOCOLS, name, replace(protocol, inner_folds=2))
    monkeypatch.setattr("gssm.training.train.attachments", lambda *_: {})  # the card
    monkeypatch.setattr("gssm.training.train.out_of_fold", held_out)
    monkeypatch.setitem(gssm.cross_validate.__kwdefaults__, "folds", 2)
    monkeypatch.setattr(
        "gssm.archive.clusters.cluster",
        lambda *_: contextlib.nullcontext(request.getfixturevalue("client")),
    )
    monkeypatch.setattr("gssm.archive_commands._now", lambda: pd.Timestamp("2023-06-10"))
    serve(monkeypatch, links["flanders"], catalogue)
    monkeypatch.setitem(named_schedulers, "processes", named_schedulers["sync"])
    return {"catalogue": str(catalogue), "folder": str(tmp_path), "box": BOX}


HELD_OUT = {}


def held_out(table, splits, protocol, recipe, tell):
    """Predict the folds of a table once: pages train on the same rows again and again."""
    key = (int(pd.util.hash_pandas_object(table).sum()), tuple(table), protocol, repr(recipe))
    if key not in HELD_OUT:
        HELD_OUT[key] = crossval.out_of_fold(table, splits, protocol, recipe, tell)
    return deepcopy(HELD_OUT[key])


def serve(monkeypatch, archive, catalogue):
    """Let `gssm serve` answer once, and let nothing open a browser."""
    from gssm.web.demo import Demo

    def run(settings, listening, tell):
        address = "http://{}:{}".format(*listening.getsockname())
        with TestClient(create_app(settings), base_url=address) as client:
            answer = client.get("/api/v1/datasets")
        assert answer.status_code == 200, answer.text
        assert answer.json()["datasets"]
        tell()

    monkeypatch.setattr("gssm.web_commands._run", run)
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    monkeypatch.setattr("gssm.web.demo.find_demo", lambda *_, **__: Demo(archive, catalogue))


def substituted(text, place):
    for written, actual in SUBSTITUTIONS.items():
        text = text.replace(written, actual.format(**place))
    return text


def given(name, place):
    """Make what a page leaves to its reader."""
    items = gssm.search(places.BBOX, "2023-06/2023-09", catalog=place["catalogue"])
    if name == "samples":
        return gssm.read_samples("enough.parquet")
    if name == "bbox":
        return places.BBOX
    if name in ("items", "items_of_a_year"):
        return items
    cube = gssm.open_cube(items, bbox=places.BBOX).isel(time=[0])
    return cube if name == "cube" else gssm.predict(cube)


def run_python(block, names, place):
    for (page, begins), wanted in GIVEN.items():
        if page == block.page and block.text.startswith(begins):
            names |= {name: given(name, place) for name in wanted}
    source = "\n" * block.line + substituted(block.text, place)
    exec(compile(source, block.page, "exec"), names)


def run_gssm(words):
    done = CliRunner().invoke(app, words[1:], env=WIDE)
    assert done.exit_code == 0, (words, done.output, done.exception)


def ask(words):
    """Ask the server, as curl would, for the simulated archive."""
    *options, url = words[1:]
    assert set(options) <= {"-OJ"}
    where = urlsplit(url)
    assert where.netloc == "127.0.0.1:8000"
    settings = settings_of(Path.cwd(), {"demo": Path("flanders").resolve()})
    with TestClient(create_app(settings)) as client:
        answer = client.get(url)
    assert answer.status_code == 200, (url, answer.text)
    assert answer.content
    assert ("-OJ" in options) <= ("filename" in answer.headers.get("content-disposition", ""))


def check_make(words):
    """A target of the Makefile. Not run: it makes an environment, and runs all that others test."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words[1:]) <= set(targets), words


def check_pip(words):
    """An installation from here. Not run: it may need a network, and the tests run installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.fullmatch(r"(gssm|\.)(?:\[(\w+)\])?", words[-1])
    assert words[:2] == ["pip", "install"], words
    assert found, words
    assert found[2] is None or found[2] in project["optional-dependencies"], words


# The first word of a line of a shell block, and what is done with it. What cannot be run says why.
RUNNERS = {"gssm": run_gssm, "curl": ask, "make": check_make, "pip": check_pip}


def run_shell(block, place):
    for words in commands(substituted(block.text, place)):
        for option, value in pairwise(words):
            if option == "--out":
                clear(Path(value))
        assert words[0] in RUNNERS, f"add what becomes of {words[0]!r} to RUNNERS"
        RUNNERS[words[0]](words)


def clear(path):
    """Remove what an earlier block wrote there: a reader runs the one or the other."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")  # odc-geo
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, place):
    names = {"__name__": "__main__"}
    for block in code():
        if block.page != page:
            continue
        try:
            if block.kind in PYTHON:
                run_python(block, names, place)
            else:
                run_shell(block, place)
        except BaseException as error:
            error.add_note(f"in the block of {block.name}")
            raise


def test_every_block_is_of_a_kind_that_is_known():
    found = [block for page in pages() for block in blocks(page)]
    assert len(found) > 60
    unknown = [b.name for b in found if b.kind not in (*PYTHON, *SHELL, *OTHER)]
    assert not unknown


@pytest.mark.parametrize("written", SUBSTITUTIONS)
def test_every_substitution_is_needed(written):
    assert any(written in block.text for block in code())


@pytest.mark.parametrize(("page", "begins"), GIVEN)
def test_every_given_name_is_needed(page, begins):
    starts = [b for b in code() if b.page == page and b.text.startswith(begins)]
    assert len(starts) >= 1


@pytest.mark.parametrize("key", ELSEWHERE, ids=" ".join)
def test_what_runs_elsewhere_does(key):
    page, *kinds = key
    there = (ROOT / "tests" / ELSEWHERE[key]).read_text("utf-8")
    assert page in there
    assert "exec(compile(" in there or kinds == [*SHELL]
    assert any(b.kind in kinds for b in blocks(ROOT / "docs" / page))
