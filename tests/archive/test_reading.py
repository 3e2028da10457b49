import re
from collections import Counter
from pathlib import Path

import cloudpickle
import icechunk
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import gssm
from archives import CHUNK, DAY, SQUARE, START, Plain, pixels_of, row_of, write
from gssm.archive import reading, series
from gssm.archive.mosaic import Mosaic, plane_of
from gssm.archive.packing import NOT_COMPUTED, unpack
from gssm.archive.reading import open_archive
from gssm.archive.repository import create_archive, open_repository
from gssm.archive.snapshots import open_snapshot
from gssm.archive.tiles import chunk_window, chunks_over, owned, parse, square_at
from gssm.archive.timeline import merge, read_timeline
from gssm.archive.zones import transformer
from gssm.errors import ArchiveError, EmptySearchError, RequestError
from s3_server import Fault

# Rows 300 to 399, columns 400 to 599 of the square: what `row_of` covers.
COVERED = {"y": slice(300, 400), "x": slice(400, 600)}


def bbox_of(square, rows, columns):
    """Box in degrees inside a window of pixels."""
    left, _, _, top = square.bounds
    x = left + 10 * np.array([columns.start, columns.stop])
    y = top - 10 * np.array([rows.stop, rows.start])
    to_degrees = transformer(square.epsg, inverse=True)
    (west, east), (south, north) = to_degrees.transform(x, y)
    return west, south, east, north


@pytest.fixture(scope="module")
def rows():
    return [row_of(5), row_of(1), row_of(3, coverage=((0, 0),)), row_of(9, platform="sentinel-1c")]


@pytest.fixture(scope="module")
def archive(tmp_path_factory, rows):
    made = create_archive(str(tmp_path_factory.mktemp("one") / "archive"), chunk=CHUNK)
    for row in rows:
        write(made, row)
    return made


# Left and right of the border between 31UFS and 31UGS, the last 20 and the first 30 pixels.
EAST = parse("31UGS")
LEFT, RIGHT = ((4, 99),), ((4, 0),)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two squares of a zone: day 0 over both, 25 s apart, day 2 over the eastern only."""
    made = create_archive(str(tmp_path_factory.mktemp("two") / "archive"), chunk=CHUNK)
    write(made, row_of(0, coverage=LEFT, seconds=25))
    write(made, row_of(0, coverage=RIGHT), EAST)
    write(made, row_of(2, coverage=RIGHT), EAST)
    return made


def reads(monkeypatch):
    """Count the chunks that are read, by array."""
    seen = Counter()
    whole = icechunk.IcechunkStore.get

    async def get(self, key, *args, **options):
        found = await whole(self, key, *args, **options)
        if "/c/" in key and found is not None:
            seen[key.split("/c/")[0].rsplit("/", 1)[-1]] += 1
        return found

    monkeypatch.setattr(icechunk.IcechunkStore, "get", get)
    return seen


def test_a_square_comes_back_in_order_of_time_with_its_pixels(archive, rows):
    found = open_archive(archive.url)
    assert dict(found.sizes) == {"time": 4, "y": 10_000, "x": 10_000}
    assert found.indexes["time"].is_monotonic_increasing
    assert found.indexes["time"].is_unique
    ordered = sorted(rows, key=lambda row: row.time)
    assert list(found["time"].values.astype("datetime64[s]").astype(int)) == [
        r.time for r in ordered
    ]
    assert list(found["platform"].values) == [r.platform for r in ordered]
    assert list(found["orbit_state"].values) == ["ascending"] * 4
    assert found["relative_orbit"].dtype == np.int16
    left, bottom, right, top = SQUARE.bounds
    np.testing.assert_array_equal(found["x"][[0, -1]], [left + 5, right - 5])
    np.testing.assert_array_equal(found["y"][[0, -1]], [top - 5, bottom + 5])
    assert found["spatial_ref"].attrs["crs_wkt"]
    assert found.odc.crs.epsg == SQUARE.epsg
    values = found.isel(COVERED).load()
    for number, row in enumerate(ordered):
        for name in ("soil_moisture", "soil_moisture_uncertainty", "s2_age", "landsat_age"):
            expected = Plain(row, name)[300:400, 400:600]
            assert values[name].dtype == np.float32
            np.testing.assert_array_equal(values[name][number], expected)
    assert found["depth"] == pytest.approx(0.025)
    assert found["depth"].attrs["positive"] == "down"
    assert "bounds" not in found["depth"].attrs  # of a variable that is not there


def test_a_table_of_a_dataset_has_each_pixel_once(archive):
    table = open_archive(archive.url).isel(COVERED).isel(time=[0, 1]).to_dataframe()
    assert len(table) == 2 * 100 * 200
    assert table.index.names == ["time", "y", "x"]
    assert table.index.is_unique


def test_flags_of_what_was_never_computed_are_one_flag_that_says_so(archive, rows):
    flags = open_archive(archive.url, variables=["quality_flag"])["quality_flag"]
    assert flags.dtype == np.uint16
    outside = flags.isel(time=0, y=0, x=0).values
    meanings = dict(
        zip(flags.attrs["flag_meanings"].split(), flags.attrs["flag_masks"], strict=True)
    )
    assert outside == meanings["not_computed"] == NOT_COMPUTED
    first = min(rows, key=lambda row: row.time)
    inside = flags.isel(time=0, **COVERED).values
    np.testing.assert_array_equal(inside, Plain(first, "quality_flag")[300:400, 400:600])
    water = inside & meanings["water"] > 0
    assert 0.05 < water.mean() < 0.15


def test_opening_reads_coordinates_and_the_ledger_and_nothing_else(archive, monkeypatch):
    seen = reads(monkeypatch)
    found = open_archive(archive.url, bbox_of(SQUARE, slice(320, 330), slice(420, 430)))
    assert not set(seen) & set(found.data_vars)
    assert sum(seen.values()) <= 6


def test_a_window_reads_only_its_chunks(archive, monkeypatch):
    found = open_archive(archive.url)
    seen = reads(monkeypatch)
    found["soil_moisture"].isel(time=0, y=slice(310, 390), x=slice(410, 490)).compute()
    assert seen == {"soil_moisture": 1}
    found["quality_flag"].isel(y=350, x=[450, 455]).compute()
    assert seen["quality_flag"] == 3  # of dates whose chunk was computed: others have none


def test_squares_of_a_zone_are_merged_and_slices_of_a_pass_are_one_date(pair):
    found = open_archive(pair.url)
    assert found.sizes["x"] == 20_000
    assert list(found["time"].values.astype("datetime64[s]").astype(int)) == [
        START,
        START + 2 * DAY,
    ]
    window = found["soil_moisture"].isel(y=slice(400, 500), x=slice(9_900, 10_100)).load()
    west = Plain(row_of(0, coverage=LEFT, seconds=25), "soil_moisture")[400:500, 9_900:]
    east = Plain(row_of(0, coverage=RIGHT), "soil_moisture", EAST)[400:500, :100]
    np.testing.assert_array_equal(window[0], np.hstack([west, east]))
    assert window[1, :, :100].isnull().all()
    assert window[1, :, 100:].notnull().any()
    assert found.attrs["mgrs_squares"] == "31UFS 31UGS"


def test_a_box_keeps_centres_inside_and_dates_that_show_it(pair):
    rows, columns = slice(410, 460), slice(9_910, 9_990)
    found = open_archive(pair.url, bbox_of(SQUARE, rows, columns))
    assert found.sizes["time"] == 1
    assert found["time"].values == np.datetime64(START + 25, "s")
    left, _, _, top = SQUARE.bounds
    assert float(found["x"][0]) >= left + columns.start * 10 - 50
    assert float(found["x"][-1]) <= left + columns.stop * 10 + 50
    assert abs(found.sizes["x"] - 80) <= 5
    assert abs(found.sizes["y"] - 50) <= 5
    whole = Plain(row_of(0, coverage=LEFT, seconds=25), "soil_moisture")
    at = {
        "y": round((top - float(found["y"][0]) - 5) / 10),
        "x": round((float(found["x"][0]) - left) / 10),
    }
    shape = found["soil_moisture"].shape[1:]
    expected = whole[at["y"] : at["y"] + shape[0], int(at["x"]) : int(at["x"]) + shape[1]]
    assert np.isfinite(expected).mean() > 0.8
    np.testing.assert_array_equal(found["soil_moisture"][0], expected)


def test_datetime_selects_and_an_empty_answer_says_what_there_is(archive):
    found = open_archive(archive.url, datetime="2023-11-15/2023-11-17")
    assert found.sizes["time"] == 2
    with pytest.raises(EmptySearchError, match=r"has 4 from 2023-11-15 to 2023-11-23"):
        open_archive(archive.url, datetime="2019")
    with pytest.raises(EmptySearchError, match=r"nothing of bbox .* it has 31UFS; give a place"):
        open_archive(archive.url, (100, 10, 100.1, 10.1))
    with pytest.raises(EmptySearchError, match="none shows the box"):
        open_archive(archive.url, bbox_of(SQUARE, slice(5000, 5010), slice(5000, 5010)))


def test_bad_requests_are_one_sentence(archive, tmp_path):
    with pytest.raises(RequestError, match="soil_moisture, soil_moisture_uncertainty"):
        open_archive(archive.url, variables=["moisture"])
    with pytest.raises(RequestError, match="give a list"):
        open_archive(archive.url, variables="soil_moisture")
    with pytest.raises(RequestError, match="is no CRS"):
        open_archive(archive.url, crs="EPSG:1")
    with pytest.raises(RequestError, match="no size of a pixel"):
        open_archive(archive.url, crs="EPSG:3035", resolution=-1)
    with pytest.raises(RequestError, match="units of the CRS"):
        open_archive(archive.url, crs="EPSG:3035", resolution=1e-4)
    with pytest.raises(ArchiveError, match="there is none"):
        open_archive(tmp_path / "nowhere")


def test_a_version_stays_readable_by_snapshot_tag_and_time(tmp_path):
    made = create_archive(str(tmp_path / "archive"), chunk=CHUNK)
    write(made, row_of(0))
    old = open_archive(made.url).attrs["archive_version"]
    open_repository(made).create_tag("first", old)
    between = pd.Timestamp.now("UTC")
    write(made, row_of(1))
    assert open_archive(made.url).sizes["time"] == 2
    for version in (old, "first", between.to_pydatetime(), f"{between:%Y-%m-%dT%H:%M:%S.%fZ}"):
        found = open_archive(made.url, version=version)
        assert (found.sizes["time"], found.attrs["archive_version"]) == (1, old)
    with pytest.raises(RequestError, match="neither"):
        open_archive(made.url, version="second")
    with pytest.raises(ArchiveError):
        open_archive(made.url, version="0" * 20)


def test_what_workers_get_is_small(archive):
    snapshot = open_snapshot(archive.url)
    timeline = read_timeline(snapshot, [SQUARE])
    plane = plane_of([SQUARE])
    mosaic = Mosaic(snapshot, "soil_moisture", (SQUARE,), timeline.places, plane)
    sent = cloudpickle.dumps(mosaic)
    assert len(sent) < 5_000
    part = (slice(0, 1), slice(300, 310), slice(400, 410))
    np.testing.assert_array_equal(cloudpickle.loads(sent)[part], mosaic[part])


@settings(max_examples=25)
@given(data=st.data())
def test_any_index_is_that_of_the_whole(pair, data):
    snapshot = open_snapshot(pair.url)
    squares = (SQUARE, EAST)
    timeline = read_timeline(snapshot, squares)
    array = Mosaic(snapshot, "s2_age", squares, timeline.places, plane_of(squares))
    box = (slice(0, 2), slice(395, 505), slice(9_890, 10_110))
    whole = array[box]
    key, near = [], []
    for part, size in zip(box, whole.shape, strict=True):
        one = st.integers(0, size - 1)
        several = st.lists(one, min_size=1, max_size=4, unique=True).map(sorted)
        steps = st.builds(
            lambda a, b, c: slice(min(a, b), max(a, b), c), one, one, st.integers(1, 7)
        )
        chosen = data.draw(st.one_of(one, several, steps))
        near.append(chosen)
        shift = part.start
        if isinstance(chosen, slice):
            key.append(slice(chosen.start + shift, chosen.stop + shift, chosen.step))
        else:
            key.append(np.add(chosen, shift))
    expected = whole
    for axis, chosen in reversed(list(enumerate(near))):
        expected = expected[(slice(None),) * axis + (chosen,)]
    np.testing.assert_array_equal(array[tuple(key)], expected)


# The border between zones 31 and 32, at 6 degrees east.
WEST_OF_6, EAST_OF_6 = square_at(5.99, 50.5), square_at(6.01, 50.5)
SEAM = (5.99, 50.495, 6.01, 50.505)


def seam_rows():
    """A pass over both squares, a kilometre wider than the seam."""
    wide = tuple(np.add(SEAM, (-0.01, -0.01, 0.01, 0.01)))
    for square, seconds in ((WEST_OF_6, 0), (EAST_OF_6, 12)):
        cover = tuple(chunks_over(square, wide, CHUNK))
        yield square, row_of(0, coverage=cover, seconds=seconds)


@pytest.fixture(scope="module")
def seam(tmp_path_factory):
    made = create_archive(str(tmp_path_factory.mktemp("seam") / "archive"), chunk=CHUNK)
    for square, row in seam_rows():
        write(made, row, square)
    return made


def owned_pixels(square, row, to):
    """Centres in a CRS, and (moisture, flags, age) of the pixels that a square owns."""
    from pyproj import Transformer

    to_crs = Transformer.from_crs(f"EPSG:{square.epsg}", to, always_xy=True)
    left, _, _, top = square.bounds
    places, values = [], []
    for index, packed in pixels_of(row, square):
        rows, columns = chunk_window(index, CHUNK)
        ours = owned(square, rows, columns)
        ours = np.ones((CHUNK, CHUNK), bool) if ours is None else ours
        i, j = np.nonzero(ours)
        x, y = left + 10 * (columns.start + j) + 5, top - 10 * (rows.start + i) - 5
        places.append(np.column_stack(to_crs.transform(x, y)))
        names = ("soil_moisture", "quality_flag", "s2_age", "landsat_age")
        values.append(np.column_stack([unpack(n, packed[n])[ours] for n in names]))
    return np.vstack(places), np.vstack(values)


@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:32631", "EPSG:32632"])
def test_across_zones_every_pixel_is_the_nearest_of_one_owner(seam, crs):
    found = open_archive(seam.url, SEAM, crs=crs)
    assert found.sizes["time"] == 1
    assert found.odc.crs.epsg == int(crs[5:])
    values = found.load()
    assert (values["quality_flag"] != NOT_COMPUTED).all()  # no gap
    sides = [owned_pixels(square, row, crs) for square, row in seam_rows()]
    places, known = (np.vstack([side[i] for side in sides]) for i in range(2))
    x, y = np.meshgrid(values["x"].values, values["y"].values)
    distances, nearest = cKDTree(places).query(np.column_stack([x.ravel(), y.ravel()]), k=12)
    names = ("soil_moisture", "quality_flag", "s2_age", "landsat_age")
    got = np.column_stack([values[n].values[0].ravel() for n in names])
    same = np.all(
        np.isclose(known[nearest], got[:, None], atol=1e-6, equal_nan=True), axis=2
    )  # (target, neighbour): all variables are of one pixel
    away = np.where(same, distances, np.inf).min(axis=1)
    assert away.max() < 15  # m: the diagonal of a pixel at worst, at the seam
    is_nearest = away <= distances[:, 0] + 1e-6
    assert is_nearest.mean() > 0.98


def test_across_zones_without_a_crs_the_sentence_names_one(seam):
    with pytest.raises(RequestError, match=r"EPSG:32631 \(31UGR\).* EPSG:32632 .*give crs='EPSG"):
        open_archive(seam.url, SEAM)
    with pytest.raises(RequestError, match="the archive has squares of several UTM zones"):
        open_archive(seam.url)


def test_one_zone_in_its_own_crs_is_as_it_is_stored(pair):
    box = bbox_of(SQUARE, slice(410, 460), slice(9_910, 9_990))
    xr.testing.assert_identical(
        open_archive(pair.url, box).load(), open_archive(pair.url, box, crs="EPSG:32631").load()
    )


def test_degrees(seam):
    found = open_archive(seam.url, SEAM, crs="EPSG:4326", variables=["quality_flag"])
    assert found["quality_flag"].dims == ("time", "y", "x")
    assert float(found["x"][0]) == pytest.approx(SEAM[0] + 1 / 24_000, abs=1e-6)
    assert found.sizes["x"] == 240
    assert (found["quality_flag"] != NOT_COMPUTED).all()


def test_across_180_degrees(tmp_path):
    made = create_archive(str(tmp_path / "archive"), chunk=CHUNK)
    box = (179.99, -16.51, -179.99, -16.5)
    for square in (square_at(179.995, -16.505), square_at(-179.995, -16.505)):
        write(made, row_of(0, coverage=tuple(chunks_over(square, box, CHUNK))), square)
    found = open_archive(made.url, box, crs="EPSG:32701", variables=["quality_flag"])
    assert 200 <= found.sizes["x"] <= 230
    shown = (found["quality_flag"] != NOT_COMPUTED).values
    assert shown[0, 5:-5, 5:-5].all()
    in_degrees = open_archive(made.url, box, crs="EPSG:4326", variables=["quality_flag"])
    assert in_degrees.sizes["x"] == 240
    assert (in_degrees["quality_flag"] != NOT_COMPUTED).all()


def _stored(times, square, platform=0, orbit=37):
    columns = {"time": times, "relative_orbit": orbit, "orbit_state": 0, "platform": platform}
    return pd.DataFrame(columns).assign(square=square, place=range(len(times)))


def test_passes_are_told_apart_by_platform_orbit_and_time():
    tables = [
        _stored([1000, 900_000], 0),
        _stored([1030, 900_025], 1),
        _stored([1010], 1, platform=1),
        _stored([1000], 2, orbit=8),
    ]
    merged = merge(pd.concat(tables), 3)
    assert list(merged.table["time"]) == [1000, 1001, 1010, 900_000]  # no second twice
    assert sorted(merged.places[:, 3]) == [-1, 1, 1]
    assert (merged.places >= 0).sum(axis=0).tolist() in ([2, 1, 1, 2], [1, 2, 1, 2])


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 30)),
        unique_by=lambda t: t[:2],
        min_size=1,
    )
)
def test_every_stored_date_is_one_of_one_pass(stored):
    """Days, squares and seconds: each date comes back once, and times are sorted and unique."""
    table = pd.DataFrame(
        [(day * DAY + seconds, square) for day, square, seconds in stored],
        columns=["time", "square"],
    ).sort_values("time")
    table = table.assign(place=table.groupby("square").cumcount())
    table = table.assign(relative_orbit=37, orbit_state=0, platform=0)
    merged = merge(table, 4)
    times = merged.table["time"].to_numpy()
    assert (np.diff(times) > 0).all()
    assert len(times) == len({day for day, _, _ in stored})
    for square in range(4):
        there = merged.places[square][merged.places[square] >= 0]
        assert sorted(there) == list(range((table["square"] == square).sum()))


def test_the_page_on_reading_works(archive, monkeypatch, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "archive-reading.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "field.geojson").write_text(_field())
    names = {"url": archive.url}
    for name in ("open_archive", "point_series", "polygon_series"):
        home = reading if name == "open_archive" else series
        monkeypatch.setattr(gssm, name, getattr(home, name), raising=False)
    code = "\n".join(blocks).replace('url = "s3://bucket/archive"', "")
    exec(compile(code, "archive-reading.md", "exec"), names)
    assert names["plain"]["soil_moisture"].dims == ("time", "y", "x")
    assert len(names["series"]) == 3
    assert (tmp_path / "field.parquet").is_file()


def _field():
    import json

    west, south, east, north = bbox_of(SQUARE, slice(320, 340), slice(420, 450))
    box = shapely.box(west, south, east, north)
    return json.dumps(
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(box)}
    )


def test_from_s3_a_chunk_is_one_request_and_one_that_fails_is_an_error(s3):
    made = create_archive(f"s3://{s3.bucket()}/archive", chunk=CHUNK)
    write(made, row_of(0))
    window = open_archive(made.url).isel(time=0, y=slice(300, 400), x=slice(400, 500))
    s3.requests.clear()
    moisture = window["soil_moisture"].values
    np.testing.assert_array_equal(moisture, Plain(row_of(0), "soil_moisture")[300:400, 400:500])
    asked = [path for method, path, _ in s3.requests if method == "GET" and "/chunks/" in path]
    assert len(asked) == 1
    s3.faults.append(Fault("denied", path="/chunks/"))
    with pytest.raises(ArchiveError, match="access is denied"):
        window["s2_age"].compute()
    lon, lat = transformer(SQUARE.epsg, inverse=True).transform(*_centre(350, 450))
    with pytest.raises(ArchiveError, match="access is denied"):
        series.point_series(made.url, lon, lat)
    with pytest.raises(ArchiveError, match="access is denied"):
        series.polygon_series(made.url, shapely.box(lon, lat, lon + 0.001, lat + 0.001))


def _centre(row, column):
    left, _, _, top = SQUARE.bounds
    return left + 10 * column + 5, top - 10 * row - 5
