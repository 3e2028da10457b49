"""The trials of a search: drawn by Optuna, kept in a file that survives a kill.

The file is Optuna's journal: a line of JSON per step, written to disk before the next,
on local disks and on NFS. One process writes it at a time.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd

from gssm.errors import GssmError, StoreExistsError, StoreWriteError
from gssm.training.search_spaces import Space, distributions

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

# What a study and its trials say of themselves.
INPUTS = "gssm_inputs"
REASON = "reason"
SECONDS = "seconds"
# How every line of a journal begins.
FIRST_KEY = "op_code"


@dataclass(frozen=True)
class Outcome:
    """How a trial went.

    Parameters
    ----------
    errors
        Mean squared error over the first fold, the first two, and so on, (m3 m-3)^2.
    seconds
        How long it took.
    pruned
        It was given up before the last fold.
    reason
        Why it failed; None if it did not.
    """

    errors: tuple[float, ...]
    seconds: float
    pruned: bool = False
    reason: str | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna say nothing but errors; its own level is back afterwards."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def open_storage(path: str | Path | None) -> Iterator[BaseStorage]:
    """Open the file of trials for this process alone; in memory without a path.

    Raises
    ------
    StoreWriteError
        The file cannot be written, or another process writes it.
    StoreExistsError
        It is no file of trials, or a damaged one.
    """
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path is None:
        yield InMemoryStorage()
        return
    path = Path(path)
    with _alone(path) as file:
        _mend(path, file)
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
        # Any error: a journal whose lines contradict one another fails in many ways.
        except Exception as error:
            raise StoreExistsError(_damaged(path, f"{type(error).__name__}: {error}")) from error
        yield storage


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    from optuna.storages.journal import JournalFileSymlinkLock

    try:
        file = path.open("a+b")
    except OSError as error:
        raise StoreWriteError(
            f"the trials cannot be kept in {path} ({error.strerror or error}); give the path of a "
            "file in a folder that can be written."
        ) from error
    with file:
        try:
            # Held by the kernel for this process, and so free again after a kill.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreWriteError(
                f"another process is writing its trials to {path}; wait for its end or give "
                "another storage."
            ) from error
        except OSError:
            pass  # a file system without such locks; Optuna's own lock remains
        else:
            # What a kill in the middle of a write left would delay us for half a minute.
            with suppress(RuntimeError):
                JournalFileSymlinkLock(str(path)).release()
        try:
            yield file
        finally:
            if path.is_file() and path.stat().st_size == 0:
                path.unlink()  # refused before the first trial: leave nothing


def _mend(path: Path, file: BinaryIO) -> None:
    """Drop a last line that a crash cut short; refuse what is no journal."""
    file.seek(0)
    data = file.read()
    whole, end, torn = data.rpartition(b"\n")
    if torn and not end:
        raise StoreExistsError(
            f"{path} is no file of trials; give another path for the storage, or remove it."
        )
    for number, line in enumerate(whole.split(b"\n") if end else [], start=1):
        try:
            known = FIRST_KEY in json.loads(line)
        except (ValueError, TypeError):
            known = False
        if not known:
            raise StoreExistsError(_damaged(path, f"line {number} is not one of Optuna's journal"))
    if torn:
        file.truncate(len(data) - len(torn))


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} is no file of trials, or a damaged one ({why[:200]}); give another path for the "
        "storage, or take an intact copy of it."
    )


def open_study(
    storage: BaseStorage, path: str | Path | None, name: str, inputs: Mapping[str, str]
) -> Study:
    """Begin a study, or go on with one of the same inputs.

    Parameters
    ----------
    storage, path
        As from and for `open_storage`.
    name
        Of the study.
    inputs
        What decides the value of a trial, by the name that a message uses.

    Raises
    ------
    StoreExistsError
        The storage holds a study of this name with other inputs; it is not written to.
    """
    import optuna

    with _writing():
        old = name in optuna.get_all_study_names(storage)
        begin = optuna.load_study if old else optuna.create_study
        study = begin(storage=storage, study_name=name)
        known = study.user_attrs.get(INPUTS)
        if known is None and not study.trials:
            study.set_user_attr(INPUTS, dict(inputs))
            known = dict(inputs)
        if known != inputs:
            other = [key for key in inputs if (known or {}).get(key) != inputs[key]]
            raise StoreExistsError(
                f"{path} holds trials {name} of another {', '.join(other) or 'purpose'}; give "
                "another path for the storage, or the same inputs to go on with them."
            )
        give_up_running(study)
    return study


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except GssmError:
        raise
    except OSError as error:
        raise StoreWriteError(
            f"the trials cannot be kept ({error}); free some space and call again with the same "
            "storage, which goes on from there."
        ) from error


def give_up_running(study: Study) -> None:
    """Mark as failed what a kill or Ctrl-C interrupted; it does not count as tried."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def counted(study: Study) -> int:
    """Trials that have run to an end: complete, pruned, or failed by themselves."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(t.state in ended or REASON in t.user_attrs for t in study.get_trials(deepcopy=False))


def complete(study: Study) -> list[FrozenTrial]:
    """Trials that saw every fold."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def ask(
    study: Study, space: Space, first: Mapping[str, float] | None, seed: int, place: int
) -> Trial:
    """Draw the hyper-parameters of the next trial.

    Parameters
    ----------
    study, space
        What is searched, and where.
    first
        Those of the very first trial.
    seed
        Of the search.
    place
        How many trials come before; with the seed and how those ended it decides what is
        drawn, so that a search that was interrupted goes on as if it had not been.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    own = np.random.SeedSequence([seed, zlib.crc32(study.study_name.encode()), place])
    study.sampler = TPESampler(seed=int(own.generate_state(1)[0]))
    with _writing():
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if first is not None and place == 0 and not waiting:
            study.enqueue_trial(dict(first))
        return study.ask(distributions(space))


def tell(study: Study, trial: Trial, outcome: Outcome) -> None:
    """Keep how a trial went."""
    from optuna.trial import TrialState

    with _writing():
        for step, error in enumerate(outcome.errors):
            trial.report(error, step)
        trial.set_user_attr(SECONDS, round(outcome.seconds, 3))
        if outcome.reason is not None:
            trial.set_user_attr(REASON, outcome.reason)
            study.tell(trial, state=TrialState.FAIL)
        elif outcome.pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, outcome.errors[-1])


def trial_table(studies: Mapping[str, Study]) -> pd.DataFrame:
    """Every trial of every member; columns as `gssm.training.tune.Tuned` says."""
    rows: list[dict[str, Any]] = []
    for member, study in studies.items():
        for trial in study.get_trials(deepcopy=False):
            told = {"number": trial.number, "value": trial.value, "state": trial.state.name}
            seconds = trial.user_attrs.get(SECONDS, math.nan)
            rows.append({"member": member, **told, **trial.params, SECONDS: seconds})
    front = ["member", "number", "value", "state"]
    table = pd.DataFrame(rows)
    order = [*front, *(c for c in table.columns if c not in (*front, SECONDS)), SECONDS]
    return table[order].astype({"value": np.float64, SECONDS: np.float64})


def reasons(studies: Sequence[Study]) -> list[str]:
    """Why trials failed by themselves."""
    trials = [trial for study in studies for trial in study.get_trials(deepcopy=False)]
    return [trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs]
