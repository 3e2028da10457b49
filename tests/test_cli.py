"""The command line as a user types it, in process; exit codes and sentences."""

import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import gssm
from gssm.cli import app
from gssm.shell import COMMANDS
from gssm.simulate import simulate_scene
from gssm.training.preset_files import save_preset
from gssm.training.presets import PRESETS

WIDE = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words], env=WIDE)


@pytest.fixture
def catalogue(scene):
    return scene


@pytest.fixture
def samples_file(tmp_path):
    from training.sample_tables import simulated_samples

    file = tmp_path / "samples.parquet"
    simulated_samples().to_parquet(file)
    return file


BBOX = ("--bbox", 3.0200, 50.8155, 3.0245, 50.8185)
DATES = ("--datetime", "2023-06")


def place(catalogue):
    return (*BBOX, *DATES, "--catalog", catalogue)


def test_help_reads_like_a_manual():
    text = run("--help").output
    for command in COMMANDS:
        assert command in text
        assert "Usage" in run(command, "--help").output
    assert "Exit codes" in text
    assert run("--version").output.startswith("gssm 0.")


def test_search_lists_and_saves(catalogue, tmp_path):
    saved = tmp_path / "items.json"
    result = run("search", *place(catalogue), "--out", saved)
    assert result.exit_code == 0
    assert "sentinel-1-sigma0" in result.output
    again = run("search", *place(saved))
    assert again.exit_code == 0
    refused = run("search", *place(catalogue), "--out", saved)
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr


def test_a_table_that_cannot_be_saved_gets_a_sentence(catalogue, tmp_path):
    (tmp_path / "file").touch()
    result = run("matchups", *place(catalogue), "--out", tmp_path / "file" / "dates.csv")
    assert result.exit_code == 5
    assert "could not be written" in result.stderr


def test_a_box_may_be_one_word_with_commas(catalogue):
    box = ",".join(map(str, BBOX[1:]))
    expected = run("search", *place(catalogue)).output
    result = run("search", "--bbox", box, *DATES, "--catalog", catalogue)
    assert (result.exit_code, result.output) == (0, expected)


def test_matchups_shows_dates(catalogue, tmp_path):
    result = run("matchups", *place(catalogue), "--measure", "--out", tmp_path / "dates.csv")
    assert result.exit_code == 0
    assert "2 of 2 acquisitions can be mapped" in result.output
    assert (tmp_path / "dates.csv").read_text().startswith("time,")
    assert re.search(r"│ \d+ (asc|desc) +│", result.output)


def test_predict_writes_a_map(catalogue, tmp_path):
    store = tmp_path / "sm.zarr"
    result = run("predict", *place(catalogue), "--out", store, "--members")
    assert result.exit_code == 0, result.stderr
    assert "2 of 2 radar acquisitions can be mapped" in result.output
    assert f"wrote {store}" in result.output
    with xr.open_zarr(store, consolidated=False) as product:
        assert product.sizes["time"] == 2
        assert np.isfinite(product.soil_moisture).mean() > 0.8
        assert "soil_moisture_tabnet" in product
    refused = run("predict", *place(catalogue), "--out", store)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--bbox", 3.1, 50.8, 3.0, 50.9, *DATES), 2, "west > east"),
        (("--bbox", -181, 50.8, -180.5, 50.9, *DATES), 2, "outside the world"),
        (("--bbox", 3, 50, 3, 51, *DATES), 2, "zero area"),
        (("--bbox", 3, 50, 9, 51, *DATES), 2, "more than 5 degrees"),
        ((*BBOX, "--datetime", "2023-07/2023-06"), 2, "before it starts"),
        ((*BBOX, "--datetime", "yesterday"), 2, "not a date"),
        ((*BBOX, "--datetime", "1999-01"), 3, "no Sentinel-1 item"),
        ((*BBOX, *DATES, "--catalog", "nowhere"), 2, "there is no catalogue 'nowhere'"),
        ((*BBOX, *DATES, "--window", "soon"), 2, "window 'soon' is not a duration"),
        ((*BBOX, *DATES, "--window", "100000D"), 2, "longer than 366 days"),
        ((*BBOX, *DATES, "--catalog", "[/red]"), 2, "no catalogue '[/red]'"),
        (("--bbox", "3,", "50,", "3.1,", 51, *DATES), 2, "not four numbers"),
    ],
)
def test_a_mistake_gets_one_sentence_and_a_code(catalogue, words, code, sentence):
    if "--catalog" not in words:
        words = (*words, "--catalog", catalogue)
    result = run("matchups", *words)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert re.match(r"error: .*\n$", result.stderr)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("predict", *BBOX, *DATES, "--model", "no-model"), 6, "no-model"),
        (("predict", *BBOX, *DATES, "--resolution", -10), 2, "resolution -10.0"),
        (("predict", *BBOX, *DATES, "--resolution", 1e-12), 2, "resolution 1e-12"),
        (("train", "no-table.parquet"), 6, "no-table.parquet"),
    ],
)
def test_nothing_is_written_after_a_mistake(catalogue, tmp_path, words, code, sentence):
    extra = ("--catalog", catalogue) if words[0] == "predict" else ()
    result = run(*words, *extra, "--out", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_train_then_evaluate(tmp_path, samples_file, monkeypatch):
    monkeypatch.setattr("gssm.training.baselines.TREES", 5)  # beside the scores, in the card
    monkeypatch.setattr("gssm.training.train.FOLDS", 2)
    bundle, sizes = tmp_path / "bundle", tmp_path / "tuned.json"
    with dask.config.set(num_workers=1):  # processes, each of which imports all there is
        trained = run("train", samples_file, "--out", bundle, "--preset", "tiny")
    assert trained.exit_code == 0, trained.output
    assert "station" in trained.output
    scored = run("evaluate", samples_file, "--model", bundle, "--out", tmp_path / "scores.csv")
    assert scored.exit_code == 0, scored.output
    assert "soil_moisture" in scored.output
    assert (tmp_path / "scores.csv").exists()
    # Another takes its place, of tuned sizes; its folds are in need of no processes of their own.
    save_preset(sizes, PRESETS["tiny"])
    monkeypatch.setattr("gssm.training.train.attachments", lambda *_: {})  # the card, once more
    with ThreadPoolExecutor(1) as pool, dask.config.set(pool=pool):
        again = run("train", samples_file, "--out", bundle, "--preset", sizes, "--overwrite")
    assert again.exit_code == 0, again.output
    training = gssm.load_model(bundle).provenance["training"]
    assert training["preset"] == "custom"
    assert training["hyperparameters"]["xgboost"]["rounds"] == PRESETS["tiny"].xgboost.rounds


def test_only_a_bundle_gives_way_to_a_bundle(tmp_path, samples_file):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    refused = run("train", samples_file, "--out", tmp_path / "home", "--overwrite")
    assert refused.exit_code == 2
    assert "nothing that gssm wrote" in refused.stderr
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]


def test_measurements_become_samples(catalogue, tmp_path):
    times = pd.date_range("2023-05-25", "2023-07-05", freq="6h")
    measured = pd.DataFrame(
        {
            **{"network": "NET", "station": "here", "longitude": 3.0222, "latitude": 50.8170},
            **{"time": times, "soil_moisture": 0.2},
        }
    )
    table, out = tmp_path / "measured.csv", tmp_path / "samples.parquet"
    measured.to_csv(table, index=False)
    words = ("samples", table, "--source", "table", "--catalog", catalogue, "--out", out)
    made = run(*words)
    assert made.exit_code == 0, made.output
    assert len(pd.read_parquet(out)) >= 1
    assert f"wrote {out}" in made.output
    for source, code, sentence in (("ismn", 6, "measured.csv"), ("smos", 2, "'smos'")):
        refused = run("samples", table, "--source", source, "--out", tmp_path / "no.parquet")
        assert refused.exit_code == code, refused.output
        assert sentence in refused.stderr
        assert not (tmp_path / "no.parquet").exists()


def test_references_are_made_once_and_used(catalogue, tmp_path):
    store = tmp_path / "history.zarr"
    few = run("history", *place(catalogue), "--out", store)
    assert few.exit_code == 2  # four acquisitions tell no dry and no wet end
    assert "acquisitions" in few.stderr
    assert not store.exists()
    missing = run("predict", *place(catalogue), "--out", tmp_path / "a", "--history", store)
    assert missing.exit_code == 2
    assert "gssm history" in missing.stderr
    box = [float(v) for v in BBOX[1:]]
    items = gssm.search(box, "2023-06", catalog=catalogue)
    gssm.to_zarr(gssm.history(items, bbox=box, min_count=2), store)
    mapped = run("predict", *place(catalogue), "--out", tmp_path / "b", "--history", store)
    assert mapped.exit_code == 0, mapped.output


def test_references_of_another_grid_are_answered_in_commands(catalogue, tmp_path):
    box, store = [float(v) for v in BBOX[1:]], tmp_path / "history.zarr"
    items = gssm.search(box, "2023-06", catalog=catalogue)
    gssm.to_zarr(gssm.history(items, bbox=box, resolution=20, min_count=2), store)
    words = ("predict", *place(catalogue), "--out", tmp_path / "sm", "--history", store)
    result = run(*words)
    assert result.exit_code == 2
    assert "are not pixels of the history" in result.stderr
    corners = " ".join(map(str, BBOX[1:]))
    advice = f"gssm history --catalog {catalogue} --bbox {corners} --resolution 10 --datetime"
    assert advice in result.stderr
    assert str(store) in result.stderr
    assert "gssm.history(" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "sm").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_prediction_leaves_nothing(tmp_path, number, code):
    catalogue = tmp_path / "catalogue"
    simulate_scene(catalogue, size=200)
    bbox = ("--bbox", "3.0200", "50.8015", "3.0470", "50.8185")
    # Fine pixels: enough work that the signal comes before the end.
    fine = ("--resolution", "2")
    words = ("predict", *bbox, *DATES, "--catalog", str(catalogue), "--out", "sm.zarr", *fine)
    running = subprocess.Popen(
        [sys.executable, "-m", "gssm.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what these tests start there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".sm.zarr.partial-*")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(number)
    _, stderr = running.communicate(timeout=120)
    assert running.returncode == code
    assert "Traceback" not in stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["catalogue"]
