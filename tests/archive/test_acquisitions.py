import warnings
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gssm.archive.acquisitions import (
    read_rows,
    record_open,
    sort_square,
    squares_of,
    write_acquisition,
)
from gssm.archive.ledger import Row, is_same_pass, why_not
from gssm.archive.packing import PACKINGS
from gssm.archive.repository import create_archive, find_archive, open_repository
from gssm.archive.tiles import parse
from gssm.errors import ArchiveError, ReadError

SQUARE = parse("31UFS")
CHUNK = 200
DAY = 86_400


def row_of(day, *, coverage=((3, 4), (3, 5)), **changes):
    made = Row(
        time=1_700_000_000 + day * DAY,
        platform="sentinel-1a",
        relative_orbit=37,
        orbit_state="ascending",
        radar=(f"S1_{day}",),
        partners=("S2",),
        processed="20240101",
        model_sha256="m",
        coverage=tuple(coverage),
    )
    return replace(made, **changes)


def packed_chunks(row, seed=None, flags=0):
    """Random packed pixels that follow from the row alone, some of them missing."""
    for index in row.coverage:
        digest = int(row.digest[:8], 16)
        rng = np.random.default_rng([digest if seed is None else seed, *index])
        values = {
            "soil_moisture": rng.integers(0, 5000, (CHUNK, CHUNK)).astype(np.uint16),
            "soil_moisture_uncertainty": rng.integers(0, 200, (CHUNK, CHUNK)).astype(np.uint8),
            "quality_flag": np.full((CHUNK, CHUNK), flags, np.uint16),
            "s2_age": rng.integers(-300, 300, (CHUNK, CHUNK)).astype(np.int16),
            "landsat_age": rng.integers(-300, 300, (CHUNK, CHUNK)).astype(np.int16),
        }
        missing = rng.random((CHUNK, CHUNK)) < 0.1
        for name, block in values.items():
            if name != "quality_flag":
                block[missing] = PACKINGS[name].fill
        yield index, values


def write(archive, row, square=SQUARE, **options):
    return write_acquisition(archive, square, row, packed_chunks(row), **options)


def read(archive, square=SQUARE):
    store = open_repository(archive).readonly_session("main").store
    return xr.open_zarr(store, group=square.group, consolidated=False)


def expected(row):
    """Physical soil moisture of the chunks of a row, by chunk."""
    for (i, j), values in packed_chunks(row):
        moisture = values["soil_moisture"].astype(float) * 1e-4
        moisture[values["soil_moisture"] == 65535] = np.nan
        window = {"y": slice(i * CHUNK, (i + 1) * CHUNK), "x": slice(j * CHUNK, (j + 1) * CHUNK)}
        yield window, moisture


def assert_holds(archive, rows, square=SQUARE):
    found = read(archive, square)
    assert found.sizes["time"] == len(rows)
    times = found["time"].values.astype("datetime64[s]").astype(int)
    assert sorted(times) == sorted(row.time for row in rows)
    for row in rows:
        date = found.isel(time=int(np.flatnonzero(times == row.time)[0]))
        assert int(date["relative_orbit"]) == row.relative_orbit
        for window, moisture in expected(row):
            np.testing.assert_allclose(
                date["soil_moisture"].isel(window).values, moisture, atol=1e-7
            )


@pytest.fixture
def archive(tmp_path):
    return create_archive(str(tmp_path / "archive"), chunk=CHUNK)


def test_a_date_comes_back_with_its_place_and_its_row(archive):
    row = row_of(0)
    written = write(archive, row)
    assert_holds(archive, [row])
    assert read_rows(archive, SQUARE) == [written]
    assert written.status == "done"
    assert written.valued == sum(np.isfinite(m).sum() for _, m in expected(row))
    assert squares_of(archive) == [SQUARE]
    found = read(archive)
    assert found["soil_moisture"].dtype.kind == "f"
    assert np.isnan(found["soil_moisture"].isel(time=0, y=0, x=0))
    left, bottom, right, top = SQUARE.bounds
    np.testing.assert_array_equal(found["x"][[0, -1]], [left + 5, right - 5])
    np.testing.assert_array_equal(found["y"][[0, -1]], [top - 5, bottom + 5])
    assert found["spatial_ref"].attrs["crs_wkt"]


def test_a_row_has_the_mean_ages_of_the_pixels_with_a_value(archive):
    def mixed(name):
        for index, values in packed_chunks(row_of(0)):
            values["s2_age"][:50] = PACKINGS["s2_age"].fill  # valued, and without an age
            values["soil_moisture"][60:] = PACKINGS["soil_moisture"].fill  # an age, and no value
            values["landsat_age"][:] = PACKINGS["landsat_age"].fill
            if name is None:
                yield index, values
            else:
                known = values["soil_moisture"] != PACKINGS["soil_moisture"].fill
                known &= values[name] != PACKINGS[name].fill
                yield values[name][known].astype(float) / 100

    row = write_acquisition(archive, SQUARE, row_of(0), mixed(None))
    mean = np.concatenate(list(mixed("s2_age"))).mean()
    assert abs(row.s2_age - mean) <= 0.005 + 1e-9
    assert row.s2_age == round(row.s2_age, 2)
    assert row.landsat_age is None
    assert read_rows(archive, SQUARE) == [row]
    assert row.digest == row_of(0).digest


def test_the_same_acquisition_twice_changes_nothing(archive):
    write(archive, row_of(0))
    tip = open_repository(archive).lookup_branch("main")

    def never():
        raise AssertionError("computed again")
        yield

    again = write_acquisition(
        archive, SQUARE, replace(row_of(0), time=row_of(0).time + 25), never()
    )
    assert (again.status, again.reason) == ("skipped", "already there")
    assert open_repository(archive).lookup_branch("main") == tip


def test_a_reprocessed_acquisition_replaces_and_the_old_one_stays_readable(archive):
    old, new = row_of(0), row_of(0, processed="20240301")
    write(archive, row_of(1))
    write(archive, old)
    snapshot = open_repository(archive).lookup_branch("main")
    assert write(archive, new).status == "done"
    assert_holds(archive, [row_of(1), new])
    before = open_repository(archive).readonly_session(snapshot_id=snapshot).store
    past = xr.open_zarr(before, group=SQUARE.group, consolidated=False)
    window, moisture = next(iter(expected(old)))
    np.testing.assert_allclose(past["soil_moisture"].isel(time=1, **window), moisture, atol=1e-7)
    assert write(archive, old).reason.startswith("there from a newer processing")


def test_what_a_replaced_date_had_and_the_new_one_lacks_is_gone(archive):
    write(archive, row_of(0))
    new = row_of(0, processed="20240301")

    def mostly_missing():
        for number, (index, values) in enumerate(packed_chunks(new)):
            if number:
                for name in values:
                    values[name] = np.full_like(values[name], PACKINGS[name].fill)
            yield index, values

    write_acquisition(archive, SQUARE, new, mostly_missing())
    found = read(archive).isel(time=0, y=slice(3 * CHUNK, 4 * CHUNK))
    assert found["soil_moisture"].isel(x=slice(4 * CHUNK, 5 * CHUNK)).notnull().any()
    assert found["soil_moisture"].isel(x=slice(5 * CHUNK, 6 * CHUNK)).isnull().all()
    store = open_repository(archive).readonly_session("main").store
    coarse = zarr.open_group(store, mode="r")[f"{SQUARE.group}/overviews/2/soil_moisture"][0]
    assert (coarse[300:400, 400:500] != 65535).any()
    assert (coarse[300:400, 500:600] == 65535).all()


def test_nothing_is_written_where_too_much_failed_or_nothing_has_a_value(archive):
    tip = open_repository(archive).lookup_branch("main")
    row = row_of(0)
    chunks = packed_chunks(row, flags=1 << 11)
    with pytest.raises(ReadError, match=r"31UFS 2023.*could not be read"):
        write_acquisition(archive, SQUARE, row, chunks, max_failed=0.1)

    def empty():
        for index, values in packed_chunks(row):
            values["soil_moisture"][:] = 65535
            yield index, values

    skipped = write_acquisition(archive, SQUARE, row, empty())
    assert (skipped.status, skipped.reason[:14]) == ("skipped", "no pixel has a")
    assert open_repository(archive).lookup_branch("main") == tip
    assert squares_of(archive) == []


def test_a_failure_while_chunks_come_leaves_nothing(archive):
    def breaks():
        yield next(packed_chunks(row_of(0)))
        raise ReadError("gone")

    with pytest.raises(ReadError, match="gone"):
        write_acquisition(archive, SQUARE, row_of(0), breaks())
    assert squares_of(archive) == []


def test_dates_come_in_any_order_and_are_sorted_by_one_commit(archive):
    rows = [
        row_of(day, coverage=cover)
        for day, cover in [(5, [(0, 0)]), (1, [(0, 0), (7, 7)]), (9, [(7, 7)]), (3, [(0, 1)])]
    ]
    for row in rows:
        write(archive, row)
    assert not read(archive).indexes["time"].is_monotonic_increasing
    assert sort_square(archive, SQUARE)
    assert read(archive).indexes["time"].is_monotonic_increasing
    assert_holds(archive, rows)
    assert not sort_square(archive, SQUARE)
    store = open_repository(archive).readonly_session("main").store
    coarse = zarr.open_group(store, mode="r")[f"{SQUARE.group}/overviews/4/soil_moisture"]
    seen = [(coarse[k][:50, :50] != 65535).any() for k in range(4)]
    assert seen == [True, False, True, False]  # days 1, 3, 5, 9


def test_skips_and_failures_are_kept_until_the_date_comes(archive):
    failed = row_of(0, status="failed", reason="404")
    record_open(archive, SQUARE, [failed, row_of(1, status="skipped", reason="EW mode")])
    assert {r.status for r in read_rows(archive, SQUARE)} == {"failed", "skipped"}
    record_open(archive, SQUARE, [replace(failed, reason="503")])
    assert sorted(r.reason for r in read_rows(archive, SQUARE)) == ["503", "EW mode"]
    write(archive, row_of(0))
    assert sorted(r.status for r in read_rows(archive, SQUARE)) == ["done", "skipped"]


def test_the_rule_of_replacement():
    old = row_of(0)
    assert why_not(old, None) == ""
    assert why_not(old, old) == "already there"
    assert "another model" in why_not(replace(old, model_sha256="n"), old)
    assert why_not(replace(old, model_sha256="n"), old, replace_any=True) == ""
    assert why_not(replace(old, processed="2025"), old) == ""
    assert "newer processing" in why_not(replace(old, processed="2019"), old)
    more = replace(old, coverage=(*old.coverage, (9, 9)))
    assert why_not(more, old) == ""
    assert why_not(old, more) == "already there"
    assert why_not(replace(old, partners=("S2", "L8")), old) == ""
    assert "no input came" in why_not(replace(old, partners=("L8",)), old)
    provisional = replace(old, provisional=True)
    assert why_not(replace(old, partners=("L8",)), provisional) == ""
    assert "not listed any more" in why_not(replace(old, partners=()), provisional)
    assert "not listed any more" in why_not(replace(more, partners=()), old)
    assert why_not(replace(old, past=2), old) == ""
    assert "no input came" in why_not(old, replace(old, past=2))
    failed = replace(old, failed=9)
    assert why_not(old, failed) == ""
    assert why_not(old, replace(failed, tries=3)) == "already there"
    assert is_same_pass(old, replace(old, relative_orbit=-1, time=old.time + 25))
    assert not is_same_pass(old, replace(old, relative_orbit=38))


def test_what_failed_to_be_read_is_tried_again_and_replaced_only_by_better(archive):
    row = row_of(0)
    mask = 1 << 11

    def with_failed(share):
        for index, values in packed_chunks(row):
            values["quality_flag"][: int(CHUNK * share)] = mask
            yield index, values

    first = write_acquisition(archive, SQUARE, row, with_failed(0.5))
    assert first.failed
    for tries in (1, 2):
        again = write_acquisition(archive, SQUARE, row, with_failed(0.5))
        assert (again.status, again.tries) == ("skipped", tries)
        assert read_rows(archive, SQUARE) == [replace(first, tries=tries)]
    better = write_acquisition(archive, SQUARE, row, with_failed(0))
    assert (better.status, better.failed, better.tries) == ("done", 0, 3)
    assert_holds(archive, [row])
    assert write(archive, row).reason == "already there"


def test_more_of_the_square_from_the_same_inputs_is_added(archive):
    write(archive, row_of(0))
    wider = row_of(0, coverage=((3, 4), (3, 5), (9, 9)))
    assert wider.digest == row_of(0).digest
    assert write(archive, wider).status == "done"
    assert_holds(archive, [wider])
    (row,) = read_rows(archive, SQUARE)
    assert (set(row.coverage), row.tries) == (set(wider.coverage), 0)


def test_a_replacement_may_not_take_the_second_of_another_date(archive):
    one, other = row_of(0), row_of(0, platform="sentinel-1c", time=row_of(0).time + 25)
    write(archive, one)
    write(archive, other)
    moved = replace(other, time=one.time, processed="20240301")
    assert "same second" in write(archive, moved).reason
    assert_holds(archive, [one, other])


def test_an_unreadable_file_of_a_job_is_not_the_archives_fault(archive):
    def breaks():
        yield next(packed_chunks(row_of(0)))
        raise OSError(28, "No space left on device", f"{archive.url}/image.tif")

    with pytest.raises(ReadError, match=r"31UFS .* could not be read"):
        write_acquisition(archive, SQUARE, row_of(0), breaks())


def _opens(url, answers):
    try:
        read_rows(find_archive(url), SQUARE)
    except ArchiveError as error:
        answers.put(str(error))


def test_a_forked_process_is_told_and_does_not_hang(archive):
    write(archive, row_of(0))
    context = get_context("fork")
    answers = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = context.Process(target=_opens, args=(archive.url, answers))
        child.start()
    assert "spawn" in answers.get(timeout=60)
    child.join()


class ArchiveMachine(RuleBasedStateMachine):
    """Append, replace, resume, sort and read in any order: as a dict of rows says."""

    @initialize()
    def start(self):
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory()
        self.archive = create_archive(f"{self.folder.name}/a", chunk=CHUNK)
        self.model: dict[int, Row] = {}

    @rule(
        day=st.integers(0, 5),
        processed=st.sampled_from(["20240101", "20240201"]),
        cover=st.sampled_from([((0, 0),), ((0, 0), (49, 49)), ((0, 1),)]),
    )
    def write_date(self, day, processed, cover):
        row = row_of(day, processed=processed, coverage=cover)
        old = self.model.get(day)
        result = write(self.archive, row)
        fits = old is None or set(old.coverage) <= set(cover)
        if not why_not(row, old) and fits:
            assert result.status == "done"
            self.model[day] = row
        else:
            assert result.status == "skipped"

    @rule(day=st.integers(0, 5))
    def break_off(self, day):
        def breaks():
            yield next(packed_chunks(row_of(day)))
            raise ReadError("gone")

        if day not in self.model:
            with pytest.raises(ReadError):
                write_acquisition(self.archive, SQUARE, row_of(day), breaks())

    @rule()
    def sort(self):
        if self.model:
            sort_square(self.archive, SQUARE)
            assert read(self.archive).indexes["time"].is_monotonic_increasing

    @invariant()
    def holds(self):
        if getattr(self, "model", None):
            assert_holds(self.archive, list(self.model.values()))

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestArchiveMachine = ArchiveMachine.TestCase
TestArchiveMachine.settings = settings(
    max_examples=6,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
