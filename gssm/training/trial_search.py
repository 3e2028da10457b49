"""The search of each member: trial after trial, here or many at once on a cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import RequestError
from gssm.training.presets import MemberParams, Recipe
from gssm.training.search_spaces import Space, inside
from gssm.training.studies import Outcome, ask, complete, counted, give_up_running, reasons, tell
from gssm.training.trials import Folds, median_limits, predict_held_out, reason_of, score

if TYPE_CHECKING:
    from optuna import Study, Trial

Tell = Callable[[str], None]

# Folds go to a cluster once and whole, for all trials: no graph that grows.
LARGE_GRAPH = {"distributed.admin.large-graph-warning-threshold": "4GB"}


@dataclass(frozen=True)
class Workers:
    """Where trials run: the executor, the folds as it takes them, and trials at once."""

    executor: Executor
    folds: Any
    number_of_folds: int
    at_once: Callable[[str], int]


class _Here(Executor):
    """Runs what is submitted at once, in the caller's thread, where Ctrl-C reaches it."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


@contextmanager
def open_workers(folds: Folds) -> Iterator[Workers]:
    """Use the cluster of an active client if there is one, as `gssm.cross_validate` does."""
    import dask
    from dask.base import get_scheduler

    client: Any = getattr(get_scheduler(), "__self__", None)
    if not hasattr(client, "submit"):
        yield Workers(_Here(), folds, len(folds), lambda member: 1)
        return

    def at_once(member: str) -> int:
        threads = client.nthreads()  # asked each time: clusters grow and shrink
        # torch has one random generator per process, so its fits take turns there.
        return max(1, len(threads) if member == "tabnet" else sum(threads.values()))

    with dask.config.set(LARGE_GRAPH):
        # A task, not scattered: lost with a worker, it is made again.
        held = client.submit(_hold, folds, pure=False)
    yield Workers(client.get_executor(pure=False), held, len(folds), at_once)


def _hold(folds: Folds) -> Folds:
    return folds


def search_all(
    studies: Mapping[str, Study],
    spaces: Mapping[str, Space],
    recipe: Recipe,
    workers: Workers,
    trials: int,
    seconds: float | None,
    progress: Tell,
) -> dict[str, Any]:
    """Search each member in turn; the best hyper-parameters of each."""
    end = time.monotonic() + (math.inf if seconds is None else seconds)
    best: dict[str, Any] = {}
    for number, (member, study) in enumerate(studies.items()):
        now = time.monotonic()
        until = now + (end - now) / (len(studies) - number)
        search = Search(member, study, spaces[member], recipe, workers, progress)
        _search(search, trials, until)
        if not complete(study):
            why = reasons([study])
            raise RequestError(
                f"all {len(why)} trials of {member} failed (the first: {why[0]}); mend its search "
                "space or the preset."
            )
        best[member] = replace(search.start, **study.best_trial.params)
    return best


@dataclass(frozen=True)
class Search:
    """What the search of one member needs."""

    member: str
    study: Study
    space: Space
    recipe: Recipe
    workers: Workers
    progress: Tell

    @property
    def start(self) -> Any:
        """The preset's hyper-parameters of this member."""
        return getattr(self.recipe.params, self.member)

    @property
    def first(self) -> dict[str, float] | None:
        """Of these, what is searched; None if a value lies outside of the space."""
        return inside(self.start, self.space)


def _search(search: Search, trials: int, until: float) -> None:
    """Run trials until there are so many or time is up."""
    study, running = search.study, dict[Future[Outcome], "Trial"]()
    try:
        while True:
            while len(running) < search.workers.at_once(search.member):
                place = counted(study) + len(running)
                first = not running and not complete(study)
                if place >= trials or (time.monotonic() >= until and not first):
                    break
                trial = ask(study, search.space, search.first, search.recipe.seed, place)
                running[_submit(search, trial)] = trial
            if not running:
                return
            for future in _ended(running):
                trial = running.pop(future)
                outcome = _outcome(future)
                tell(study, trial, outcome)
                search.progress(_line(search, trial, outcome, trials))
    except BaseException:  # Ctrl-C above all: what has ended is kept, the rest is let go
        for future in running:
            future.cancel()
        with suppress(OSError):  # what cannot be written now is found by the next call
            give_up_running(study)
        raise


def _submit(search: Search, trial: Trial) -> Future[Outcome]:
    done = [t.intermediate_values for t in complete(search.study)]
    limits = median_limits(done, search.workers.number_of_folds)
    params = replace(search.start, **trial.params)
    what = (search.workers.folds, search.member, params, search.recipe.seed, limits)
    return search.workers.executor.submit(score, *what)


def _ended(running: Mapping[Future[Outcome], Trial]) -> Collection[Future[Outcome]]:
    done = wait(running, return_when=FIRST_COMPLETED).done
    return sorted(done, key=lambda future: running[future].number)


def _outcome(future: Future[Outcome]) -> Outcome:
    """How a trial went; that of a trial which killed its workers is a failure."""
    error = future.exception()
    if error is not None and type(error).__name__ == "KilledWorker":
        return Outcome((), math.nan, reason=f"the workers that ran it died ({reason_of(error)})")
    return future.result()


def _line(search: Search, trial: Trial, outcome: Outcome, trials: int) -> str:
    if outcome.reason is not None:
        how = f"failed ({outcome.reason})"
    else:
        how = f"RMSE {math.sqrt(outcome.errors[-1]):.4f}"
        how += f", given up after {len(outcome.errors)} folds" if outcome.pruned else ""
    done = complete(search.study)
    best = f", best {math.sqrt(search.study.best_value):.4f}" if done else ""
    return f"{search.member}: trial {counted(search.study)} of {trials}: {how}{best}"


def held_out_predictions(
    best: Mapping[str, MemberParams], recipe: Recipe, workers: Workers
) -> dict[str, NDArray[np.float64]]:
    """Predict the held-out rows of all folds by each member."""
    running: dict[str, Future[NDArray[np.float64]]] = {
        member: workers.executor.submit(
            predict_held_out, workers.folds, member, params, recipe.seed
        )
        for member, params in best.items()
    }
    return {member: future.result() for member, future in running.items()}
