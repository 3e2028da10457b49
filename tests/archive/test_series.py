import warnings

import numpy as np
import pandas as pd
import pytest
import shapely

from archives import CHUNK, SQUARE, Plain, row_of, write
from gssm.archive.points import pixels_at
from gssm.archive.reading import open_archive
from gssm.archive.repository import create_archive
from gssm.archive.series import point_series, polygon_series, write_series
from gssm.archive.tiles import chunks_over, owned, square_at
from gssm.archive.zones import transformer
from gssm.errors import (
    ArchiveError,
    EmptySearchError,
    GssmWarning,
    RequestError,
    StoreExistsError,
)

POINT_COLUMNS = [
    *("soil_moisture", "soil_moisture_uncertainty", "quality_flag", "quality_flag_meanings"),
    *("s2_age", "landsat_age", "relative_orbit", "orbit_state", "platform", "square"),
]
# Days 1, 5 and 9 over two chunks, day 3 elsewhere; the writer's order is another.
DAYS = (5, 1, 9)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    made = create_archive(str(tmp_path_factory.mktemp("one") / "archive"), chunk=CHUNK)
    for row in (*(row_of(day) for day in DAYS), row_of(3, coverage=((0, 0),))):
        write(made, row)
    return made


def place(row, column, square=SQUARE, within=(0.5, 0.5)):
    """Longitude and latitude of a place in a pixel."""
    left, _, _, top = square.bounds
    x, y = left + 10 * (np.asarray(column) + within[0]), top - 10 * (np.asarray(row) + within[1])
    return transformer(square.epsg, inverse=True).transform(x, y)


@pytest.mark.parametrize("within", [(0.5, 0.5), (0.01, 0.99), (0.99, 0.01)])
def test_a_point_is_the_pixel_that_holds_it_on_every_date(archive, within):
    series = point_series(archive.url, *place(333, 444, within=within))
    assert list(series.columns) == POINT_COLUMNS
    assert series.index.name == "time"
    assert list(series.index.day) == [15, 19, 23]
    for day, (_, row) in zip(sorted(DAYS), series.iterrows(), strict=True):
        for name in ("soil_moisture", "soil_moisture_uncertainty", "quality_flag", "s2_age"):
            expected = Plain(row_of(day), name)[333, 444]
            np.testing.assert_equal(row[name], expected)
    assert series["soil_moisture"].dtype == np.float32
    assert series["quality_flag"].dtype == np.uint16
    assert set(series["square"]) == {"31UFS"}
    assert series.attrs["archive_version"]


def test_flags_are_told_in_words(archive):
    water = np.argwhere(Plain(row_of(1), "quality_flag")[300:400, 400:500] == 32)[0] + (300, 400)
    series = point_series(archive.url, *place(*water), datetime="2023-11-15")
    assert list(series["quality_flag_meanings"]) == ["water"]
    assert series["soil_moisture"].isnull().all()


def test_several_points_have_numbers_and_places(archive):
    rows, columns = [333, 333, 350], [444, 555, 420]
    lons, lats = place(rows, columns)
    table = point_series(archive.url, lons, lats)
    assert list(table.columns) == ["point", "longitude", "latitude", *POINT_COLUMNS]
    assert list(table["point"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for number in range(3):
        alone = point_series(archive.url, lons[number], lats[number])
        of_it = table[table["point"] == number]
        pd.testing.assert_frame_equal(of_it[POINT_COLUMNS], alone)
        assert set(of_it["longitude"]) == {lons[number]}


def test_points_in_one_chunk_read_it_once(archive, monkeypatch):
    import icechunk

    seen = []
    whole = icechunk.IcechunkStore.get

    async def get(self, key, *args, **options):
        seen.append(key)
        return await whole(self, key, *args, **options)

    monkeypatch.setattr(icechunk.IcechunkStore, "get", get)
    lons, lats = place([310, 320, 330], [410, 420, 430])
    point_series(archive.url, lons, lats)
    chunks = [key for key in seen if "/soil_moisture/c/" in key]
    assert len(chunks) == len(set(chunks)) == 4  # of the date elsewhere it is asked for, too


def test_a_place_that_the_archive_lacks_is_an_error_or_a_warning(archive):
    with pytest.raises(EmptySearchError, match=r"the place \(10, 50\): it has 31UFS"):
        point_series(archive.url, 10, 50)
    lon, lat = place(333, 444)
    with pytest.warns(GssmWarning, match=r"1 point\(s\) left out: .* 32UNA of point 1"):
        table = point_series(archive.url, [lon, 10], [lat, 50])
    assert set(table["point"]) == {0}
    with pytest.warns(GssmWarning, match="computed on none of them"):
        table = point_series(archive.url, *place(5000, 5000))
    assert list(table.columns) == POINT_COLUMNS
    assert len(table) == 0
    assert table["soil_moisture"].dtype == np.float32
    with pytest.raises(EmptySearchError, match="no date there from 2020"):
        point_series(archive.url, lon, lat, datetime="2020")


@pytest.mark.parametrize(
    ("lon", "lat", "message"),
    [
        (5, 89, "beyond 80 degrees south"),
        (500, 50, "not on earth"),
        (float("nan"), 50, "not on earth"),
        ([1, 2], [3], "no points"),
        ([], [], "no points"),
        ("five", 50, "no points"),
    ],
)
def test_points_that_are_none_are_refused(archive, lon, lat, message):
    with pytest.raises(RequestError, match=message):
        point_series(archive.url, lon, lat)


def test_no_archive(tmp_path):
    with pytest.raises(ArchiveError, match="there is none"):
        point_series(tmp_path / "nowhere", 5, 50)


def test_at_the_border_of_a_zone_a_point_gets_a_pixel_of_its_owner():
    rng = np.random.default_rng(0)
    lons = 6 + rng.uniform(-1e-4, 1e-4, 200)
    lats = 50.5 + rng.uniform(-0.001, 0.001, 200)
    for lon, lat in zip(lons, lats, strict=True):
        square = square_at(lon, lat)
        (row,), (column,) = pixels_at(square, np.array([lon]), np.array([lat]))
        assert owned(square, slice(row, row + 1), slice(column, column + 1)) is None
        x, y = transformer(square.epsg, inverse=False).transform(lon, lat)
        left, _, _, top = square.bounds
        away = np.hypot(left + 10 * column + 5 - x, top - 10 * row - 5 - y)
        assert away < 15


def area_of_pixels(rows, columns):
    """Polygon around whole pixels, through their corners."""
    r = [rows.start, rows.start, rows.stop, rows.stop]
    c = [columns.start, columns.stop, columns.stop, columns.start]
    lons, lats = place(np.array(r), np.array(c), within=(0, 0))
    return shapely.Polygon(list(zip(lons, lats, strict=True)))


def test_an_area_is_the_mean_of_its_pixels(archive):
    rows, columns = slice(320, 345), slice(470, 530)  # over two chunks
    table = polygon_series(archive.url, area_of_pixels(rows, columns))
    assert list(table.index.day) == [15, 19, 23]
    assert set(table["pixels"]) == {25 * 60}
    for day, (_, found) in zip(sorted(DAYS), table.iterrows(), strict=True):
        of = {
            name: Plain(row_of(day), name)[rows, columns]
            for name in ("soil_moisture", "soil_moisture_uncertainty", "quality_flag", "s2_age")
        }
        moisture = of["soil_moisture"].astype(float)
        assert found["soil_moisture"] == pytest.approx(np.nanmean(moisture), abs=1e-8)
        assert found["soil_moisture_std"] == pytest.approx(np.nanstd(moisture), abs=1e-8)
        width = of["soil_moisture_uncertainty"].astype(float)
        assert found["soil_moisture_uncertainty"] == pytest.approx(np.nanmean(width), abs=1e-8)
        assert found["s2_age"] == pytest.approx(of["s2_age"].astype(float).mean(), abs=1e-6)
        assert found["valid"] == np.isfinite(moisture).sum()
        assert found["share_valid"] == found["valid"] / 1500
        assert found["computed"] == 1500
        assert found["share_water"] == pytest.approx((of["quality_flag"] == 32).mean())


def test_an_area_that_is_partly_covered_says_so(archive):
    table = polygon_series(archive.url, area_of_pixels(slice(390, 410), slice(450, 460)))
    assert list(table["computed"]) == [100] * 3
    assert list(table["pixels"]) == [200] * 3
    assert (table["share_valid"] < 0.5).all()


def test_pixels_of_squares_that_the_archive_lacks_are_of_the_area(archive):
    lon, lat = place(350, 0)
    table = polygon_series(archive.url, shapely.box(lon - 0.001, lat, lon + 0.06, lat + 0.0009))
    assert square_at(lon - 0.0005, lat).name == "31UES"
    whole = int(table["pixels"].iloc[0])
    assert whole * 100 == pytest.approx(0.061 * 69_570 * 0.0009 * 111_250, rel=0.02)
    assert (table["computed"] < 0.6 * whole).all()


def test_an_area_that_was_never_computed_is_empty_with_a_warning(archive):
    area = area_of_pixels(slice(5000, 5010), slice(5000, 5010))
    with pytest.warns(GssmWarning, match=r"nothing of the area within \(.*\) was computed on any"):
        table = polygon_series(archive.url, area)
    assert len(table) == 0
    assert "soil_moisture" in table.columns


def test_the_same_sums_whatever_the_pieces(archive, monkeypatch):
    from gssm.archive import polygons

    area = area_of_pixels(slice(320, 345), slice(470, 530)).buffer(1e-4)
    expected = polygon_series(archive.url, area)
    monkeypatch.setattr(polygons, "DATES", 1)
    monkeypatch.setattr(polygons, "TASKS", 3)
    pd.testing.assert_frame_equal(polygon_series(archive.url, area), expected, check_exact=True)


def test_an_area_is_taken_from_shapely_geojson_and_files(archive, tmp_path):
    import json

    area = area_of_pixels(slice(320, 330), slice(470, 480))
    expected = polygon_series(archive.url, area)
    mapping = shapely.geometry.mapping(area)
    feature = {"type": "Feature", "properties": {}, "geometry": mapping}
    (tmp_path / "area.geojson").write_text(json.dumps(feature))
    for given in (
        mapping,
        feature,
        {"type": "FeatureCollection", "features": [feature]},
        tmp_path / "area.geojson",
    ):
        pd.testing.assert_frame_equal(polygon_series(archive.url, given), expected)


def test_four_numbers_are_a_box(archive):
    box = area_of_pixels(slice(320, 330), slice(470, 480)).bounds
    expected = polygon_series(archive.url, shapely.box(*box))
    for given in (box, list(box), np.array(box)):
        pd.testing.assert_frame_equal(polygon_series(archive.url, given), expected)


@pytest.mark.parametrize(
    ("area", "error", "message"),
    [
        (shapely.Point(5, 50), RequestError, "holds Point; give polygons"),
        ({"type": "Nonsense"}, RequestError, "give polygons"),
        (7, RequestError, "'7' is no geometry; give polygons"),
        ((1, 2, 3), RequestError, r"'\(1, 2, 3\)' is no geometry"),
        (("a", 1, 2, 3), RequestError, "is not an area"),
        ((5, 52, 6, 51), RequestError, "south below north"),
        (shapely.box(600_000, 5_600_000, 600_100, 5_600_100), RequestError, "in degrees"),
        (shapely.box(10, 50, 10.1, 50.1), EmptySearchError, "it has 31UFS"),
    ],
)
def test_areas_that_cannot_be_read_are_refused(archive, area, error, message):
    with pytest.raises(error, match=message):
        polygon_series(archive.url, area)


def test_an_area_without_a_centre_of_a_pixel(archive):
    lon, lat = place(333, 444, within=(0.9, 0.9))
    with pytest.raises(EmptySearchError, match="no centre of a pixel"):
        polygon_series(archive.url, shapely.box(lon, lat, lon + 1e-6, lat + 1e-6))


@pytest.fixture(scope="module")
def seam(tmp_path_factory):
    """A pass over the border of zones 31 and 32."""
    made = create_archive(str(tmp_path_factory.mktemp("seam") / "archive"), chunk=CHUNK)
    wide = (5.98, 50.485, 6.02, 50.515)
    for square, seconds in ((square_at(5.99, 50.5), 0), (square_at(6.01, 50.5), 12)):
        cover = tuple(chunks_over(square, wide, CHUNK))
        write(made, row_of(0, coverage=cover, seconds=seconds), square)
    return made


def test_an_area_over_two_zones_counts_every_place_once(seam):
    area = shapely.box(5.99, 50.495, 6.01, 50.505)
    table = polygon_series(seam.url, area)
    assert len(table) == 1
    sides = [
        polygon_series(seam.url, shapely.box(*box))
        for box in ((5.99, 50.495, 6, 50.505), (6, 50.495, 6.01, 50.505))
    ]
    assert int(table["pixels"].iloc[0]) == sum(int(side["pixels"].iloc[0]) for side in sides)
    square_metres = 2 * 709.9 * 1112.6  # of 0.01 degree of longitude and latitude there
    assert table["pixels"].iloc[0] * 100 == pytest.approx(square_metres, rel=0.005)
    assert (table["computed"] == table["pixels"]).all()


def test_a_box_series_is_the_dataset_s_mean(archive):
    area = area_of_pixels(slice(320, 345), slice(470, 530))
    values = open_archive(archive.url, variables=["soil_moisture"])["soil_moisture"]
    means = values.isel(y=slice(320, 345), x=slice(470, 530)).mean(("y", "x")).compute()
    table = polygon_series(archive.url, area)
    shown = means.sel(time=table.index)
    np.testing.assert_allclose(table["soil_moisture"], shown, atol=1e-6)


@pytest.mark.parametrize("kind", ["point", "points", "polygon"])
def test_files_hold_the_table_whole(archive, tmp_path, kind):
    lon, lat = place(333, 444)
    table = {
        "point": lambda: point_series(archive.url, lon, lat),
        "points": lambda: point_series(archive.url, [lon, lon], [lat, lat]),
        "polygon": lambda: polygon_series(
            archive.url, area_of_pixels(slice(320, 325), slice(470, 480))
        ),
    }[kind]()
    parquet = write_series(table, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), table)
    csv = write_series(table, tmp_path / "a.csv")
    back = pd.read_csv(csv, index_col="time", parse_dates=["time"], keep_default_na=True)
    assert str(back.index.tz) == "UTC"
    assert list(back.columns) == list(table.columns)
    np.testing.assert_allclose(back["soil_moisture"], table["soil_moisture"], atol=1e-6)
    np.testing.assert_array_equal(back.index.tz_localize(None), table.index)


def test_files_are_not_written_over_and_have_a_known_ending(archive, tmp_path):
    table = point_series(archive.url, *place(333, 444))
    path = write_series(table, tmp_path / "a.csv")
    before = path.read_bytes()
    with pytest.raises(StoreExistsError):
        write_series(table.iloc[:1], path)
    assert path.read_bytes() == before
    write_series(table.iloc[:1], path, overwrite=True)
    assert len(path.read_bytes()) < len(before)
    with pytest.raises(RequestError, match=r"give .parquet or .csv"):
        write_series(table, tmp_path / "a.xlsx")


def test_no_warning_where_all_is_well(archive):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(point_series(archive.url, *place(333, 444))) == 3
