"""Times, sizes and memory that asv keeps of each commit, one thread.

`benchmarks/run.py` compares with other libraries in one process; these are compared with
themselves, so only between runs of one machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dask
import engine
import line
import run

import gssm


class Import:
    """A process that imports gssm, and the library that it cannot do without."""

    def timeraw_gssm(self) -> str:
        return "import gssm"

    def timeraw_xarray(self) -> str:
        return "import xarray"


class Graph:
    """A month over a whole Sentinel-2 tile, from items that have no pixels."""

    def setup(self) -> None:
        self.items, self.grid = run.month_over_a_tile()
        self.cube = gssm.open_cube(self.items, grid=self.grid)

    def time_open_cube(self) -> None:
        gssm.open_cube(self.items, grid=self.grid)

    def time_predict(self) -> None:
        gssm.predict(self.cube)

    def track_tasks_per_chunk_and_variable(self) -> float:
        return run.tasks_per_chunk(self.cube)

    def track_largest_task(self) -> int:
        return run.largest_task(gssm.predict(self.cube))

    track_tasks_per_chunk_and_variable.unit = "tasks"  # type: ignore[attr-defined]
    track_largest_task.unit = "bytes"  # type: ignore[attr-defined]


class Score:
    """Score a block of 256 x 256 simulated pixels by the default model."""

    params = ("random_forest", "xgboost", "tabnet", "all", "all, interval and flags")
    param_names = ("members",)

    def setup(self, members: str) -> None:
        model = gssm.load_model()
        self.rows = engine.default_block(model)
        self.predict = {
            **{name: member.predict for name, member in model.members.items()},
            "all": model.score,
            "all, interval and flags": engine.whole_score(model),
        }[members]
        self.predict(self.rows)

    def track_pixels_per_second(self, members: str) -> float:
        return 1 / engine.seconds_a_row(self.predict, self.rows)

    track_pixels_per_second.unit = "pixels/s"  # type: ignore[attr-defined]


class Line:
    """From COG to Zarr: a scene of two dates in one chunk."""

    size = 512
    timeout = 600
    warmup_time = 0
    number = 1

    def setup_cache(self) -> Any:
        options = line.parse(
            ["--size", f"{self.size}", "--chunk", f"{self.size}"], folder=Path.cwd()
        )
        line.prepare(options)
        return options

    def setup(self, options: Any) -> None:
        with dask.config.set(scheduler="synchronous"):
            line.warm(options)

    def teardown(self, options: Any) -> None:
        shutil.rmtree(options.folder / options.store, ignore_errors=True)

    def time_cog_to_zarr(self, options: Any) -> None:
        with dask.config.set(scheduler="synchronous"):
            line.write(options)

    def peakmem_cog_to_zarr(self, options: Any) -> None:
        self.time_cog_to_zarr(options)
