"""Times that asv keeps of an archive: opening it, a window, a series of a place, planning."""

from __future__ import annotations

from pathlib import Path

import archive_reading
import pystac
from archive_reading import CHUNK, INDEX, PIXEL, SQUARE

from gssm.archive.plan import steps
from gssm.archive.points import point_series
from gssm.archive.reading import open_archive
from gssm.archive.repository import create_archive, find_archive
from gssm.archive.rounds import Round
from gssm.archive.tiles import chunk_grid
from gssm.simulate import simulate_items


class Archive:
    """One square in a folder; one chunk of it has values, at every date."""

    dates = 60
    timeout = 600

    def setup_cache(self) -> str:
        folder = Path.cwd() / "archive"
        archive_reading.fill_archive(
            create_archive(folder, chunk=CHUNK), self.dates, lambda *_: None
        )
        return str(folder)

    def setup(self, url: str) -> None:
        grid = chunk_grid(SQUARE, INDEX, CHUNK)
        self.place = archive_reading.place_of(
            *(CHUNK * index + at for index, at in zip(INDEX, PIXEL, strict=True))
        )
        self.whole = open_archive(url)
        left, bottom, right, top = grid.boundingbox.bbox
        self.window = self.whole.isel(time=1).sel(y=slice(top, bottom), x=slice(left, right))
        assert self.window["soil_moisture"].shape == (CHUNK, CHUNK)

    def time_open(self, url: str) -> None:
        """As a process does that has read nothing yet."""
        archive_reading.forget()
        open_archive(url)

    def time_window_of_a_chunk(self, url: str) -> None:
        self.window.compute()

    def time_point_series(self, url: str) -> None:
        point_series(url, *self.place)

    def track_bytes_of_a_date(self, url: str) -> float:
        """What is stored of a date: pixels of a chunk, and the tables that lead to them."""
        return sum(file.stat().st_size for file in Path(url).rglob("*.*")) / self.dates


class Plan:
    """A month over a whole square, from a catalogue of items that have no pixels."""

    days = 30
    timeout = 600

    def setup_cache(self) -> tuple[str, str]:
        catalogue, archive = Path.cwd() / "catalogue", Path.cwd() / "planned"
        west, south, east, north = SQUARE.footprint
        box = (west + 0.1, south + 0.1, east - 0.1, north - 0.1)
        items = simulate_items(bbox=box, start="2023-06-01", days=self.days)
        catalogue.mkdir()
        pystac.ItemCollection(items).save_object(str(catalogue / "items.json"))
        create_archive(archive, chunk=CHUNK)
        return str(catalogue), str(archive)

    def time_month_of_a_square(self, places: tuple[str, str]) -> None:
        self.track_jobs(places)

    def track_jobs(self, places: tuple[str, str]) -> int:
        catalogue, archive = places
        rounds = [Round(None, "2023-06", (SQUARE.name,))]
        return len(list(steps(find_archive(archive), rounds, catalog=catalogue)))


Archive.track_bytes_of_a_date.unit = "bytes"  # type: ignore[attr-defined]
Plan.track_jobs.unit = "steps"  # type: ignore[attr-defined]
