"""What a plan comes to, and what that rests on."""

import pytest

from gssm.archive.costs import READ_BYTES, SPEED, SPEED_WITH_PAST, WRITTEN_BYTES, estimate
from gssm.archive.plan import Note
from planned import catalogue, made_jobs, steps_of


def test_a_plan_is_counted(tmp_path):
    folder = catalogue(tmp_path / "c")
    found = steps_of(None, folder, chunk=100)
    jobs = [step for step in found if not isinstance(step, Note)]
    result = estimate(found, 100)
    assert (result.squares, result.jobs, result.known, result.skipped) == (1, 7, 0, 0)
    assert result.images == sum(len(job.items) for job in jobs)
    assert result.pixels == sum(len(job.row.coverage) for job in jobs) * 100**2
    assert result.speed == SPEED_WITH_PAST  # of the default model
    assert result.read_gb == pytest.approx(result.pixels * READ_BYTES / 1e9)
    assert result.written_gb == pytest.approx(result.pixels * WRITTEN_BYTES / 1e9)


def test_a_square_of_a_hundred_kilometres():
    (job,) = made_jobs(1)
    notes = [
        Note("31UES", "known"),
        Note("31UES", "settled"),
        Note("31UDS", "skipped"),
        Note("31UDS", "unplanned", "the catalogue is down."),
        Note("31UDS", "month"),
    ]
    result = estimate([*[job] * 100, *notes], 1000)
    assert result.pixels == 10**8
    assert result.core_hours == pytest.approx(1e8 / result.speed / 3600)
    assert result.cost(0.04) == pytest.approx(0.04 * result.core_hours)
    counts = (result.squares, result.known, result.skipped, result.unplanned, result.reason)
    assert counts == (2, 2, 1, 1, "the catalogue is down.")


def test_what_it_rests_on_is_said():
    text = estimate([], 1000).assumptions()
    for words in (str(SPEED_WITH_PAST), "references of the past", "docs/speed.md", "21 bytes"):
        assert words in text
    assert SPEED > SPEED_WITH_PAST
