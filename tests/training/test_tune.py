from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm.errors import GssmWarning, RequestError, SamplesError, StoreExistsError, StoreWriteError
from gssm.metrics import rmse
from gssm.schema import FeatureSpec
from gssm.training import crossval, fitting, trial_search, trials
from gssm.training import tune as tune_module
from gssm.training.crossval import cross_validate
from gssm.training.presets import PRESETS, make_recipe
from gssm.training.protocols import split, station_groups
from gssm.training.search_spaces import Between, OneOf, Parameter
from gssm.training.trials import median_limits
from gssm.training.tune import Budget, Tuned, load_preset, nested_tune, save_preset, tune
from gssm.training.weights import ensemble_weights
from sample_tables import simulated_samples

FOREST = {"random_forest": (Between("min_samples_leaf", 2, 20), Between("max_features", 0.1, 1.0))}
BOOSTING = {"xgboost": (Between("max_depth", 2, 4), Between("learning_rate", 0.01, 0.3, log=True))}
TABNET = {"tabnet": (Between("n_d", 2, 6), OneOf("batch_size", (64, 128)))}
SMALL = FeatureSpec("small", ("vv_db", "vh_db", "s2_b4"))
TWO = Budget(trials=2, folds=2)
SIX = Budget(trials=6, folds=3)


@dataclass(frozen=True)
class Guess:
    """A member that predicts one of its hyper-parameters everywhere."""

    value: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.full(len(features), self.value, np.float32)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Fit in no time, and list the hyper-parameters of every fit."""
    fitted: list[Any] = []

    def fit(features: object, target: object, params: Any, seed: int) -> Guess:
        fitted.append(params)
        return Guess(params.max_features)

    monkeypatch.setitem(fitting.FITTERS, "random_forest", fit)
    return fitted


def quick(samples: pd.DataFrame | None = None, **options: Any) -> Tuned:
    defaults = {"spec": SMALL, "preset": "tiny", "members": FOREST, "budget": SIX}
    return tune(simulated_samples() if samples is None else samples, **(defaults | options))


def drawn(tuned: Tuned) -> pd.DataFrame:
    """Trials that count, without what two runs may differ in."""
    table = tuned.trials.query("state != 'FAIL'")
    return table.drop(columns=["number", "seconds"]).reset_index(drop=True)


# --- what is found ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    spaces = {**FOREST, **BOOSTING, **TABNET}
    return tune(simulated_samples(), preset="tiny", members=spaces, budget=TWO)


def test_a_table_of_trials_and_the_best_of_them(tuned: Tuned) -> None:
    assert list(tuned.trials.columns) == [
        *("member", "number", "value", "state", "min_samples_leaf", "max_features"),
        *("max_depth", "learning_rate", "n_d", "batch_size", "seconds"),
    ]
    assert list(tuned.trials["member"]) == [
        *("random_forest", "random_forest", "xgboost", "xgboost", "tabnet", "tabnet")
    ]
    assert list(tuned.trials["number"]) == [0, 1] * 3
    assert set(tuned.trials["state"]) == {"COMPLETE"}
    assert (tuned.trials["seconds"] > 0).all()
    assert tuned.studies == {m: f"gssm-{m}" for m in ("random_forest", "xgboost", "tabnet")}
    best = tuned.trials.loc[tuned.trials.groupby("member")["value"].idxmin()].set_index("member")
    for member, parameters in {**FOREST, **BOOSTING, **TABNET}.items():
        found, start = getattr(tuned.preset, member), getattr(PRESETS["tiny"], member)
        searched = {p.name: best.loc[member, p.name] for p in parameters}
        assert found == replace(start, **searched)
        assert [type(v) for v in vars(found).values()] == [type(v) for v in vars(start).values()]
    assert tuned.preset.blanked_copies == PRESETS["tiny"].blanked_copies


def test_a_trial_has_the_value_that_cross_validation_finds(tuned: Tuned) -> None:
    """The first is the preset itself; the best is what `preset` gives, and so are the weights."""
    for preset, number in (("tiny", 0), (tuned.preset, None)):
        predicted = cross_validate(simulated_samples(), preset=preset, folds=2)
        observed = predicted["observed"].to_numpy(np.float64)
        for member, own in tuned.trials.groupby("member"):
            value = own["value"].iloc[0] if number == 0 else own["value"].min()
            error = rmse(observed, predicted[member].to_numpy(np.float64))
            assert math.sqrt(value) == pytest.approx(error, rel=1e-6)
    members = {name: predicted[name].to_numpy(np.float64) for name in tuned.weights}
    expected = ensemble_weights(members, observed, station_groups(simulated_samples()))
    assert tuned.weights == pytest.approx(expected, abs=1e-5)
    assert sum(tuned.weights.values()) == pytest.approx(1, abs=1e-5)


def test_what_is_tuned_can_be_kept_and_trained(tuned: Tuned, tmp_path: Path) -> None:
    from gssm.training.train import train

    save_preset(tmp_path / "tuned.json", tuned.preset)
    preset = load_preset(tmp_path / "tuned.json")
    assert preset == tuned.preset
    model = train(simulated_samples(), preset=preset, members=["xgboost"], evaluate=False)
    assert list(model.members) == ["xgboost"]


def test_held_out_rows_are_seen_as_on_a_map() -> None:
    samples, recipe = simulated_samples(), make_recipe("l2", "tiny", None, None, 0)
    part = split(samples, "station", 2, 0)[0]
    fold = trials.make_fold(samples, part, recipe)
    age = samples["s2_age"].to_numpy()[part.test]
    column = recipe.spec.features.index("s2_b4")
    np.testing.assert_array_equal(np.isnan(fold.held_out[:, column]), np.abs(age) > 3)
    assert len(fold.features) == len(fold.target) == 2 * len(part.train)  # and a blanked copy


def test_the_same_seed_gives_the_same_trials(fits: list[Any]) -> None:
    first, second, other = quick(), quick(), quick(seed=1)
    pd.testing.assert_frame_equal(drawn(first), drawn(second))
    assert first.preset == second.preset
    assert not drawn(first)[1:].equals(drawn(other)[1:])


def test_a_preset_outside_of_the_space_is_not_tried(fits: list[Any]) -> None:
    space: dict[str, tuple[Parameter, ...]] = {"random_forest": (Between("max_features", 0.5, 1),)}
    tuned = quick(members=space, budget=TWO)
    assert tuned.trials["max_features"].between(0.5, 1).all()
    tried = quick(members=FOREST, budget=TWO).trials.iloc[0]
    assert tried["max_features"] == PRESETS["tiny"].random_forest.max_features


# --- the budget ---------------------------------------------------------------------------


def test_poor_trials_are_given_up(fits: list[Any]) -> None:
    tuned = quick(budget=Budget(trials=30, folds=4))
    states = tuned.trials.set_index("number")["state"]
    assert set(states[:5]) == {"COMPLETE"}  # none before there is a median
    assert (states == "PRUNED").sum() > 3
    # Of four folds, a trial that was given up saw two or three; the best, in the end, all.
    assert len(fits) < 30 * 4 - 3
    complete = tuned.trials.query("state == 'COMPLETE'")
    best = complete.loc[complete["value"].idxmin()]
    assert tuned.preset.random_forest.max_features == best["max_features"]


def test_median_limits_by_hand() -> None:
    errors = [{0: 1.0, 1: float(n), 2: 10.0 * n} for n in range(1, 6)]
    assert median_limits(errors[:4], 3) == [math.inf] * 3
    assert median_limits(errors, 3) == [math.inf, 3.0, 30.0]
    assert median_limits([{0: 1.0}] * 9, 1) == [math.inf]


def test_without_time_each_member_has_one_trial(fits: list[Any]) -> None:
    lines: list[str] = []
    members = {**FOREST, **BOOSTING}
    tuned = quick(members=members, budget=Budget(seconds=1e-9, folds=2), progress=lines.append)
    assert list(tuned.trials["member"]) == ["random_forest", "xgboost"]
    assert lines[0] == "making the features of 2 folds"
    assert lines[1].startswith("random_forest: trial 1 of 50: RMSE 0.")
    assert lines[-1] == "weighing the tuned members"


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(trials=0), "has 0 trials; give at least 1"),
        (Budget(seconds=0), "has 0 seconds; give more than 0"),
        (Budget(seconds=math.nan), "has nan seconds"),
    ],
)
def test_no_budget(fits: list[Any], budget: Budget, message: str) -> None:
    for verb in (tune, nested_tune):
        with pytest.raises(RequestError, match=message):
            verb(simulated_samples(), members=FOREST, budget=budget)
    assert fits == []


# --- the storage --------------------------------------------------------------------------


def test_a_second_call_runs_the_trials_that_remain(fits: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "trials.log"
    whole = quick()
    fits.clear()
    quick(budget=replace(SIX, trials=2), storage=path)
    assert len(fits) == 2 * 3
    fits.clear()
    rest = quick(storage=path)
    assert len(fits) <= 4 * 3
    pd.testing.assert_frame_equal(drawn(rest), drawn(whole))
    fits.clear()
    again = quick(storage=path)
    assert fits == []
    pd.testing.assert_frame_equal(again.trials, rest.trials)
    assert again.weights == whole.weights
    assert [p.name for p in tmp_path.iterdir()] == ["trials.log"]


HANGING = """
import sys, time
sys.path[:0] = {path!r}
import test_tune
from gssm.training import fitting

count = 0

def fit(features, target, params, seed):
    global count
    count += 1
    if count == 8:
        print("hanging", flush=True)
        time.sleep(600)
    return test_tune.Guess(params.max_features)

fitting.FITTERS["random_forest"] = fit
test_tune.quick(storage={storage!r})
"""


def test_trials_survive_a_kill(fits: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "trials.log"
    tests = Path(__file__).parent
    paths = [str(tests), str(tests.parent)]
    code = HANGING.format(path=paths, storage=str(path))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "hanging\n"
            with pytest.raises(StoreWriteError, match="another process is writing its trials to"):
                quick(storage=path)
        finally:
            child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert fits == []

    with path.open("ab") as file:  # and a write cut short
        file.write(b'{"op_code":8,"worker')
    resumed = quick(storage=path)
    assert list(resumed.trials["state"][:4]) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert len(resumed.trials) == 7
    assert len(fits) <= 4 * 3  # two trials were kept
    whole = quick()
    pd.testing.assert_frame_equal(drawn(resumed), drawn(whole))
    assert (resumed.preset, resumed.weights) == (whole.preset, whole.weights)


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_ctrl_c_leaves_the_trials(
    fits: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    path, whole = tmp_path / "trials.log", quick()
    fit = fitting.FITTERS["random_forest"]
    fits.clear()

    def interrupted(*arguments: Any) -> Any:
        if len(fits) == 3 * kept + 1:
            raise KeyboardInterrupt
        return fit(*arguments)

    with monkeypatch.context() as patch:
        patch.setitem(fitting.FITTERS, "random_forest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick(storage=path)
    resumed = quick(storage=path)
    assert list(resumed.trials["state"]).index("FAIL") == kept
    pd.testing.assert_frame_equal(drawn(resumed), drawn(whole))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "trials.log holds trials gssm-random_forest of another seed; give another"),
        ({"spec": "paper33"}, "of another spec;"),
        ({"budget": TWO}, "of another number of folds;"),
        ({"protocol": "random"}, "of another protocol;"),
        ({"preset": replace(PRESETS["tiny"], blanked_copies=2)}, "of another preset;"),
        (
            {"members": {"random_forest": (Between("trees", 1, 9),)}, "seed": 3},
            "search space, seed",
        ),
    ],
)
def test_trials_of_other_inputs_are_refused(
    fits: list[Any], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "trials.log"
    quick(storage=path)
    before = path.read_bytes()
    fits.clear()
    with pytest.raises(StoreExistsError, match=message):
        quick(storage=path, **options)
    assert fits == []
    assert path.read_bytes() == before


def test_trials_of_another_table_are_refused(fits: list[Any], tmp_path: Path) -> None:
    path, samples = tmp_path / "trials.log", simulated_samples()
    quick(storage=path)
    samples.loc[7, "soil_moisture"] += np.float32(0.001)
    with pytest.raises(StoreExistsError, match="of another table;"):
        quick(samples, storage=path)
    # What is of no account may differ: another member's hyper-parameters, another column.
    other = replace(PRESETS["tiny"], xgboost=PRESETS["paper"].xgboost)
    fits.clear()
    samples = simulated_samples().assign(note="x")
    quick(samples, preset=other, storage=path)
    assert fits == []


def test_a_storage_that_cannot_be_used_is_refused_before_any_fit(
    fits: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "note").write_text("no journal")
    for path, error, message in (
        (tmp_path, StoreWriteError, "cannot be kept in .* directory"),
        (tmp_path / "none" / "trials.log", StoreWriteError, "No such file or directory"),
        (tmp_path / "note" / "trials.log", StoreWriteError, "Not a directory"),
        (tmp_path / "table.csv", StoreExistsError, "line 1 is not one of Optuna's journal"),
        (tmp_path / "note", StoreExistsError, "note is no file of trials; give another path"),
    ):
        with pytest.raises(error, match=message):
            quick(storage=path)
    assert fits == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["note", "table.csv"]
    assert (tmp_path / "note").read_text() == "no journal"


def test_a_damaged_storage_is_refused(fits: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "trials.log"
    quick(storage=path)
    lines = path.read_bytes().splitlines(keepends=True)
    fits.clear()
    for damaged, message in (
        ([*lines[:5], b'{"op_code": 3\n', *lines[5:]], "damaged one .line 6 is not one of"),
        ([*lines[:5], b'{"op_code":77}\n'], "damaged one .AssertionError"),
        ([lines[0], *lines[2:]], "gssm-random_forest of another table, spec"),
    ):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(StoreExistsError, match=message):
            quick(storage=path)
        assert path.read_bytes() == b"".join(damaged)
    assert fits == []


def test_a_full_disk_is_told(
    fits: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages.journal import JournalFileBackend

    path, write = tmp_path / "trials.log", JournalFileBackend.append_logs

    def full(backend: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if fits:
            raise OSError(28, "No space left on device")
        write(backend, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(StoreWriteError, match=r"cannot be kept \(.*No space left.*goes on"):
            quick(storage=path)
    resumed = quick(storage=path)
    pd.testing.assert_frame_equal(drawn(resumed), drawn(quick()))


# --- what goes wrong ----------------------------------------------------------------------


def test_a_table_that_cannot_be_used_is_refused(fits: list[Any], tmp_path: Path) -> None:
    samples, path = simulated_samples(), tmp_path / "trials.log"
    constant = samples.assign(soil_moisture=np.float32(0.2))
    with pytest.raises(SamplesError, match=r"soil_moisture is 0.2 in every row"):
        tune(constant, members=FOREST, storage=path)
    with pytest.raises(SamplesError, match="7 independent stations or rows for 8 folds"):
        tune(samples, members=FOREST, budget=Budget(folds=8), storage=path)
    assert fits == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "lunar"}, "no protocol 'lunar'"),
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"members": ["forest"]}, "members names 'forest'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_that_cannot_be_served(options: dict[str, Any], message: str) -> None:
    for verb in (tune, nested_tune):
        with pytest.raises(RequestError, match=message):
            verb(simulated_samples(), **options)


def test_a_trial_that_fails_ends_alone(
    fits: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trials.log"

    def fit(features: object, target: object, params: Any, seed: int) -> Guess:
        fits.append(params)
        if params.max_features > 0.6:
            raise ValueError("too many\nfeatures")
        return Guess(math.nan if params.min_samples_leaf > 15 else params.max_features)

    monkeypatch.setitem(fitting.FITTERS, "random_forest", fit)
    reason = r"\d trials of random_forest failed \(the first: ValueError: .*\); they were left out"
    with pytest.warns(GssmWarning, match=reason):
        tuned = quick(budget=replace(SIX, trials=12), storage=path)
    failed = tuned.trials.query("state == 'FAIL'")
    poor = (failed["max_features"] > 0.6) | (failed["min_samples_leaf"] > 15)
    assert poor.all()
    assert failed["value"].isna().all()
    assert len(tuned.trials) == 12  # they count
    fits.clear()
    with pytest.warns(GssmWarning, match="failed"):
        quick(budget=replace(SIX, trials=12), storage=path)
    assert fits == []

    space = {"random_forest": (Between("max_features", 0.7, 1.0),)}
    with pytest.raises(RequestError, match=r"all 6 trials of random_forest failed .*too many feat"):
        quick(members=space)


def test_optuna_is_quiet_and_its_level_is_its_own(
    fits: list[Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        quick(storage=tmp_path / "trials.log")
        with pytest.raises(StoreExistsError):
            quick(storage=tmp_path / "trials.log", seed=1)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")


# --- on a cluster -------------------------------------------------------------------------


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Worker threads in this process; TCP, so that all that is sent is pickled."""
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"processes": False, "protocol": "tcp", "dashboard_address": ":0"}
    with (
        LocalCluster(n_workers=1, threads_per_worker=request.param, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_the_same_on_one_worker(cluster: Any, tuned: Tuned) -> None:
    spaces = {**FOREST, **BOOSTING, **TABNET}
    spread = tune(simulated_samples(), preset="tiny", members=spaces, budget=TWO)
    pd.testing.assert_frame_equal(
        spread.trials.drop(columns="seconds"), tuned.trials.drop(columns="seconds")
    )
    assert (spread.preset, spread.weights) == (tuned.preset, tuned.weights)


@pytest.mark.parametrize("cluster", [3], indirect=True)
def test_as_many_at_once_as_there_are_threads(
    cluster: Any, fits: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    real = trial_search._ended

    def ended(running: Any) -> Any:
        at_once.append(len(running))
        return real(running)

    monkeypatch.setattr(trial_search, "_ended", ended)
    budget = Budget(trials=9, folds=2)
    tuned = quick(budget=budget, storage=tmp_path / "trials.log")
    assert max(at_once) == 3
    assert len(tuned.trials) == 9
    first = quick(budget=replace(budget, trials=1)).trials.drop(columns="seconds")
    pd.testing.assert_frame_equal(tuned.trials.drop(columns="seconds")[:1], first)


@pytest.mark.parametrize("cluster", [2], indirect=True)
def test_ctrl_c_with_trials_on_a_cluster(cluster: Any, fits: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "trials.log"

    def interrupt(line: str) -> None:
        if "trial 1 of" in line:  # at a later one both may have ended and been told
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(storage=path, progress=interrupt)
    states = quick(storage=path).trials["state"]
    assert (states != "FAIL").sum() == SIX.trials
    assert (states == "FAIL").sum() == 1  # two were under way, one of them told


def test_a_trial_that_kills_its_workers_fails_alone() -> None:
    from distributed.scheduler import KilledWorker

    killed: Future[Any] = Future()
    killed.set_exception(KilledWorker("trial", SimpleNamespace(address="tcp://w"), 3))
    outcome = trial_search._outcome(killed)
    assert outcome.errors == ()
    assert outcome.reason is not None
    assert outcome.reason.startswith("the workers that ran it died (KilledWorker")
    lost: Future[Any] = Future()
    lost.set_exception(OSError("the scheduler is gone"))
    with pytest.raises(OSError, match="the scheduler is gone"):
        trial_search._outcome(lost)


# --- nested -------------------------------------------------------------------------------


def test_nested_tuning_sees_no_row_that_it_predicts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = simulated_samples()
    samples.index = samples.index[::-1] // 2  # neither sorted nor unique
    seen: list[tuple[set[str], Tuned]] = []

    def watched(given: pd.DataFrame, **options: Any) -> Tuned:
        result = tune(given, **options)
        # The last station stands next to the first and counts as the same place.
        seen.append((set(given["station"].replace("st7", "st0")), result))
        return result

    fitted: list[Any] = []
    real_fit = crossval.fit_members

    def fit(rows: pd.DataFrame, recipe: Any, progress: Any) -> Any:
        fitted.append(recipe.params)
        return real_fit(rows, recipe, progress)

    monkeypatch.setattr(tune_module, "tune", watched)
    monkeypatch.setattr(crossval, "fit_members", fit)
    members = {**FOREST, **BOOSTING}
    options: dict[str, Any] = {"preset": "tiny", "members": members, "budget": TWO}
    predicted = nested_tune(samples, **options, storage=tmp_path / "trials.log")
    # Fits for weights and intervals, then the one that predicts, as it was tuned there.
    tuned = [result.preset for _, result in seen]
    assert [preset for preset, _ in groupby(fitted)] == [preset for preset, _ in groupby(tuned)]
    assert len(fitted) >= 3 * len(tuned)
    plain = cross_validate(samples, preset="tiny", members=list(members), folds=2)
    assert list(predicted.columns) == list(plain.columns)
    assert list(predicted.index) == list(samples.index)
    known = ["network", "station", "time", "fold", "observed"]
    pd.testing.assert_frame_equal(predicted[known], plain[known])
    assert predicted.attrs.keys() == plain.attrs.keys()
    assert {k: v for k, v in predicted.attrs.items() if k != "importance"} == {
        "protocol": "station",
        "says": plain.attrs["says"],
        "folds": 2,
        "spec": "l2",
        "preset": "tuned from tiny",
        "left_out": 0,
        "left_out_why": {},
    }
    assert predicted.attrs["importance"].keys() == plain.attrs["importance"].keys()
    sample = next(iter(predicted.attrs["importance"].values()))
    assert sample.keys() == next(iter(plain.attrs["importance"].values())).keys()
    assert predicted["soil_moisture"].notna().all()
    for fold, (stations, _) in enumerate(seen):
        held_out = predicted.loc[(predicted["fold"] == fold).to_numpy(), "station"]
        places = set(held_out.str.removeprefix("NETA/").str.removeprefix("NETB/"))
        assert not stations & {name.replace("st7", "st0") for name in places}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trials-0.log", "trials-1.log"]
