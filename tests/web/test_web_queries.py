import io
import threading

import numpy as np
import pandas as pd
import pytest
import shapely

import gssm
from gssm import quality
from gssm.archive.points import pixels_at
from gssm.archive.series import write_series
from gssm.archive.tiles import parse
from gssm.web import queries
from gssm.web.datasets import open_dataset
from gssm.web.lanes import GivenUpError, Watch
from gssm.web.routing import PREFIX
from gssm.web.settings import Limits
from web_apps import asking, settings_of
from web_archives import (
    EAST,
    EVENING,
    LATER,
    MIDDLE,
    MORNING,
    SQUARE,
    WEST,
    border_archive,
    lonlat,
    row_of,
    small_archive,
)

DEMO = f"{PREFIX}/datasets/demo"
NEIGHBOUR = parse("31UFS")
LON, LAT = map(float, lonlat(SQUARE, 4100, 4100))
# In the west the evening pass lies on top, in the east there is the morning's alone.
WEST_LON, EAST_LON = (float(lonlat(SQUARE, 4100, column)[0]) for column in (4190, 4210))
BOX = (LON, LAT - 0.003, EAST_LON, LAT)
FIELD = shapely.Polygon([(LON, LAT), (EAST_LON, LAT), (LON + 0.01, LAT - 0.006)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web_queries")
    small_archive(folder / "demo")
    border_archive(folder / "border")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    archives = {name: folder / name for name in ("demo", "border")}
    with asking(settings_of(folder, archives)) as client:
        yield client


@pytest.fixture(scope="module")
def url(folder):
    return str(folder / "demo")


def geojson(shape):
    return shapely.geometry.mapping(shape)


def same(said, expected):
    """Tell whether JSON has the number of a table, null for NaN."""
    if pd.isna(expected):
        return said is None
    return said == pytest.approx(float(expected), abs=1e-6)


def test_a_point_has_the_values_of_point_series(client, url):
    rng = np.random.default_rng(7)
    rows, columns = rng.integers(4000, 4400, (2, 8))
    for row, column in zip(rows, columns, strict=True):
        lon, lat = map(float, lonlat(SQUARE, row, column))
        expected = gssm.point_series(url, lon, lat).iloc[-1]
        said = client.get(f"{DEMO}/point", params={"lon": lon, "lat": lat}).json()
        for name in ("soil_moisture", "soil_moisture_uncertainty", "s2_age", "landsat_age"):
            assert same(said[name], expected[name]), name
        assert said["quality_flag"] == expected["quality_flag"]
        assert "|".join(f["name"] for f in said["flags"]) == expected["quality_flag_meanings"]
        assert said["time"] == f"{expected.name:%Y-%m-%dT%H:%M:%SZ}"
        for name in ("relative_orbit", "orbit_state", "platform", "square"):
            assert said[name] == expected[name]
        if said["soil_moisture"] is not None:
            low, high = said["interval"]
            width = expected["soil_moisture_uncertainty"]
            assert low == pytest.approx(max(0, expected["soil_moisture"] - width), abs=1e-6)
            assert high == pytest.approx(expected["soil_moisture"] + width, abs=1e-6)
            assert low >= 0


def test_of_a_day_the_last_pass_that_shows_the_pixel_counts(client):
    def asked(lon, date):
        found = client.get(f"{DEMO}/point", params={"lon": lon, "lat": LAT, "date": date})
        return found.json() | {"http": found.status_code}

    assert asked(WEST_LON, "2024-01-01")["date"] == "20240101T180000Z"
    assert asked(EAST_LON, "2024-01-01")["date"] == "20240101T060000Z"
    assert asked(WEST_LON, "20240101T060000Z")["date"] == "20240101T060000Z"
    assert asked(WEST_LON, "latest")["date"] == "20240104T060000Z"
    missing = asked(EAST_LON, "20240101T180000Z")
    assert missing["http"] == 404
    assert "was not computed on 20240101T180000Z" in missing["detail"]


def test_places_and_dates_that_there_are_not(client):
    for parameters, status, says in (
        ({"lon": 100, "lat": 10}, 404, "archive demo holds nothing of the place (100, 10)"),
        ({"lon": 5, "lat": 89}, 422, "beyond 80 degrees south or 84 degrees north"),
        ({"lon": LON, "lat": LAT, "date": "2020-01-01"}, 404, "no date 2020-01-01"),
        ({"lon": LON, "lat": LAT, "date": "2020-02-30"}, 422, "no day of the calendar"),
        ({"lon": LON, "lat": LAT, "date": "today"}, 422, "date 'today' is none"),
    ):
        answer = client.get(f"{DEMO}/point", params=parameters)
        assert answer.status_code == status, parameters
        assert says in answer.json()["detail"]


def check_rows(rows, table, names):
    assert [row["time"] for row in rows] == [f"{t:%Y-%m-%dT%H:%M:%SZ}" for t in table.index]
    for row, (_, expected) in zip(rows, table.iterrows(), strict=True):
        for name in names:
            if isinstance(expected[name], str):
                assert row[name] == expected[name]
            else:
                assert same(row[name], expected[name]), name


POINT_COLUMNS = (
    *("soil_moisture", "soil_moisture_uncertainty", "quality_flag", "quality_flag_meanings"),
    *("s2_age", "landsat_age", "relative_orbit", "orbit_state", "platform", "square"),
)


def test_a_series_of_a_point_is_that_of_point_series(client, url):
    for lon, dates in ((WEST_LON, 3), (EAST_LON, 2)):
        said = client.get(f"{DEMO}/series", params={"lon": lon, "lat": LAT}).json()
        table = gssm.point_series(url, lon, LAT)
        assert len(said["rows"]) == dates
        assert said["version"] == table.attrs["archive_version"]
        check_rows(said["rows"], table, POINT_COLUMNS)
        known = [date["id"] for date in client.get(f"{DEMO}/dates").json()["dates"]]
        assert [row["date"] for row in said["rows"]] == [
            d for d in known if dates == 3 or "T06" in d
        ]


def test_a_series_can_be_of_a_part_of_the_time(client):
    place = {"lon": WEST_LON, "lat": LAT}
    for datetime, dates in (
        ("2024-01-01", 2),
        ("2024-01-02/2024-02-01", 1),
        ("2024", 3),
        ("20240101T180000Z", 1),
        ("2024-01-01T12:00Z/2024-01-04T06:00:00Z", 2),
    ):
        said = client.get(f"{DEMO}/series", params={**place, "datetime": datetime}).json()
        assert len(said["rows"]) == dates, datetime
    empty = client.get(f"{DEMO}/series", params={**place, "datetime": "2021"})
    assert empty.status_code == 404
    assert "it has 3 from 2024-01-01 to 2024-01-04" in empty.json()["detail"]


def test_a_series_as_csv_is_the_file_of_write_series(client, url, tmp_path):
    answer = client.get(f"{DEMO}/series", params={"lon": LON, "lat": LAT, "format": "csv"})
    written = write_series(gssm.point_series(url, LON, LAT), tmp_path / "point.csv")
    assert answer.text == written.read_text()
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="gssm_demo_series.csv"'
    body = {"geometry": geojson(FIELD), "format": "csv"}
    answer = client.post(f"{DEMO}/series", json=body)
    written = write_series(gssm.polygon_series(url, FIELD), tmp_path / "area.csv")
    assert answer.text == written.read_text()


AREA_COLUMNS = (
    *("soil_moisture", "soil_moisture_std", "soil_moisture_uncertainty", "pixels", "computed"),
    *("valid", "share_valid", "s2_age", "landsat_age", "relative_orbit", "orbit_state"),
)


def test_a_series_of_an_area_is_that_of_polygon_series(client, url):
    said = client.post(f"{DEMO}/series", json={"geometry": geojson(FIELD)}).json()
    table = gssm.polygon_series(url, FIELD)
    check_rows(said["rows"], table, AREA_COLUMNS)
    assert len(said["rows"]) == 3
    for row, (_, expected) in zip(said["rows"], table.iterrows(), strict=True):
        for flag in quality.FLAGS:
            assert same(row["flags"][flag.meaning], expected[f"share_{flag.meaning}"])
    assert [row["date"] for row in said["rows"]] == [
        date["id"] for date in client.get(f"{DEMO}/dates").json()["dates"]
    ]


def test_long_series_are_read_in_parts_that_make_the_same(client, monkeypatch):
    place = {"lon": WEST_LON, "lat": LAT}
    field = {"geometry": geojson(FIELD)}
    whole = [
        client.get(f"{DEMO}/series", params=place).json(),
        client.post(f"{DEMO}/series", json=field).json(),
    ]
    monkeypatch.setattr(queries, "DATES", 1)
    parts = [
        client.get(f"{DEMO}/series", params=place).json(),
        client.post(f"{DEMO}/series", json=field).json(),
    ]
    assert parts == whole


def test_a_series_ends_when_nobody_waits(folder):
    dataset = open_dataset("demo", str(folder / "demo"))
    watch = Watch()
    watch.end()
    for call in (
        lambda: queries.point_rows(watch, dataset, LON, LAT, None, 9999),
        lambda: queries.area_rows(watch, dataset, FIELD, None, 9999),
    ):
        with pytest.raises(GivenUpError):
            call()


def valued(dataset, name):
    return dataset[name].values.astype(np.float64)


def test_statistics_of_a_box_are_those_of_numpy_over_the_open_archive(client, url):
    for date, time in (("20240101T060000Z", 0), ("20240104T060000Z", 1)):
        answer = client.post(f"{DEMO}/statistics", json={"bbox": BOX, "date": date})
        said = answer.json()
        # The pixels whose centres lie in the box: those of the polygon, in degrees.
        opened = gssm.open_archive(url, BOX, "2024").sel(time=said_time(date))
        inside = inside_of(opened, shapely.box(*BOX))
        moisture = valued(opened, "soil_moisture")[inside]
        flags = opened["quality_flag"].values[inside]
        computed = flags != 1 << 15
        known = moisture[np.isfinite(moisture)]
        assert said["pixels"] == inside.sum(), time
        assert said["computed"] == computed.sum()
        assert said["valid"] == known.size
        assert known.size > 1000
        for name, expected in (
            ("mean", known.mean()),
            ("std", known.std()),
            ("min", known.min()),
            ("max", known.max()),
            ("median", np.median(known)),
        ):
            assert said[name] == pytest.approx(expected, abs=2e-6), name
        for name, found in said["percentiles"].items():
            assert found == pytest.approx(np.percentile(known, int(name[1:])), abs=2e-6), name
        edges, counts = (np.array(said["histogram"][k]) for k in ("edges", "counts"))
        steps = np.rint(edges * 10_000)
        assert counts.tolist() == np.histogram(np.rint(known * 10_000), steps)[0].tolist()
        assert counts.sum() == known.size
        width = valued(opened, "soil_moisture_uncertainty")[inside]
        assert said["mean_uncertainty"] == pytest.approx(np.nanmean(width), abs=2e-6)
        for flag in quality.FLAGS:
            share = (flags[computed] & flag.mask > 0).mean()
            assert said["flags"][flag.meaning] == pytest.approx(share, abs=2e-6)


def said_time(date):
    return pd.to_datetime(date, format="%Y%m%dT%H%M%SZ")


def inside_of(opened, area):
    """Pixels of an open archive whose centres lie in polygons in degrees."""
    from pyproj import Transformer

    to_metres = Transformer.from_crs("EPSG:4326", opened.odc.crs.to_wkt(), always_xy=True)
    bent = shapely.transform(
        shapely.segmentize(area, 0.0005), to_metres.transform, interleaved=False
    )
    x, y = np.meshgrid(opened["x"].values, opened["y"].values)
    return shapely.contains_xy(bent, x, y)


def test_statistics_of_a_day_take_each_pixel_once_from_the_last_pass_that_shows_it(client, url):
    said = client.post(f"{DEMO}/statistics", json={"bbox": BOX, "date": "2024-01-01"}).json()
    opened = gssm.open_archive(url, BOX, "2024-01-01")
    inside = inside_of(opened, shapely.box(*BOX))
    flags = opened["quality_flag"].values
    evening = flags[1] != 1 << 15
    assert 0 < evening[inside].mean() < 1
    moisture = np.where(evening, *(opened["soil_moisture"].values[i] for i in (1, 0)))[inside]
    assert said["mean"] == pytest.approx(np.nanmean(moisture.astype(np.float64)), abs=2e-6)
    assert said["valid"] == np.isfinite(moisture).sum()
    assert said["pixels"] == inside.sum()


def test_statistics_of_an_area_agree_with_its_series(client):
    rows = client.post(f"{DEMO}/series", json={"geometry": geojson(FIELD)}).json()["rows"]
    for row in rows:
        body = {"geometry": geojson(FIELD), "date": row["date"]}
        said = client.post(f"{DEMO}/statistics", json=body).json()
        for name in ("pixels", "computed", "valid", "flags"):
            assert said[name] == row[name]
        assert said["mean"] == pytest.approx(row["soil_moisture"], abs=1e-6)
        assert said["std"] == pytest.approx(row["soil_moisture_std"], abs=1e-6)
        assert said["mean_uncertainty"] == pytest.approx(row["soil_moisture_uncertainty"], abs=1e-6)


def test_an_area_without_a_value_has_statistics_without_numbers(client):
    lon, lat = map(float, lonlat(SQUARE, 8000, 8000))
    # Its square is there, and nothing of it was computed.
    box = [lon, lat, lon + 0.001, lat + 0.001]
    said = client.post(f"{DEMO}/statistics", json={"bbox": box, "date": "latest"}).json()
    assert said["pixels"] > 0
    assert (said["computed"], said["valid"], said["mean"]) == (0, 0, None)
    assert sum(said["histogram"]["counts"]) == 0


def test_areas_over_two_zones_count_each_place_once(client, folder):
    area = shapely.box(5.985, 50.995, 6.015, 51.005)
    border = f"{PREFIX}/datasets/border"
    series = client.post(f"{border}/series", json={"geometry": geojson(area)}).json()["rows"]
    table = gssm.polygon_series(str(folder / "border"), area)
    check_rows(series, table, AREA_COLUMNS)
    body = {"geometry": geojson(area), "date": "latest"}
    said = client.post(f"{border}/statistics", json=body).json()
    assert said["pixels"] == table["pixels"].iloc[0]
    assert said["valid"] == table["valid"].iloc[0]
    assert said["mean"] == pytest.approx(table["soil_moisture"].iloc[0], abs=1e-6)
    for square, lon in ((WEST, 5.9995), (EAST, 6.0005)):
        found = client.get(f"{border}/point", params={"lon": lon, "lat": 51.0}).json()
        assert found["square"] == square.name
        assert pixels_at(square, np.array([lon]), np.array([51.0]))[0].size == 1


def test_what_is_too_much_is_refused_with_the_number(folder):
    limits = Limits(box_km2=0.1, series_days=2, vertices=8, burst=10**6, requests_per_second=10**6)
    with asking(settings_of(folder / "tight", {"demo": folder / "demo"}, limits=limits)) as client:

        def detail(answer):
            assert answer.status_code == 422
            assert answer.json()["type"] == "urn:gssm:problem:too-much"
            return answer.json()["detail"]

        ring = shapely.Point(LON, LAT).buffer(0.001, quad_segs=16)
        place = {"lon": WEST_LON, "lat": LAT}
        series = client.post(f"{DEMO}/series", json={"geometry": geojson(ring)})
        assert "65 vertices, and at most 8" in detail(series)
        body = {"bbox": BOX, "date": "latest"}
        assert "at most 0.1 km2" in detail(client.post(f"{DEMO}/statistics", json=body))
        asked = client.get(f"{DEMO}/series", params={**place, "datetime": "2024"})
        assert "at most 2 are served" in detail(asked)
        assert "the period has 3 days" in detail(client.get(f"{DEMO}/series", params=place))
        inside = client.get(f"{DEMO}/series", params={**place, "datetime": "2024-01-01"})
        assert inside.status_code == 200


def test_a_new_date_is_seen_after_the_refresh_and_old_versions_stay(folder, tmp_path):
    archive = small_archive(tmp_path / "demo")
    with asking(settings_of(tmp_path, {"demo": tmp_path / "demo"}, refresh_seconds=0)) as client:
        before = client.get(DEMO).json()
        from web_archives import write

        write(archive, row_of(5, seconds=EVENING, coverage=MIDDLE, **LATER))
        after = client.get(DEMO).json()
        assert after["dates"] == before["dates"] + 1
        assert after["version"] != before["version"]
        for version in (before["version"], after["version"]):
            tile = f"{DEMO}/tiles/soil_moisture/latest/8/130/85.png"
            assert client.get(tile, params={"version": version}).status_code == 200


def test_many_at_once_get_what_they_asked_for(client, url):
    places = [map(float, lonlat(SQUARE, row, 4100)) for row in range(4000, 4400, 50)]
    wanted = {lon_lat: None for lon_lat in map(tuple, places)}

    def ask(lon, lat):
        found = client.get(f"{DEMO}/point", params={"lon": lon, "lat": lat})
        wanted[lon, lat] = found.json()["soil_moisture"]

    threads = [threading.Thread(target=ask, args=place) for place in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (lon, lat), found in wanted.items():
        assert same(found, gssm.point_series(url, lon, lat)["soil_moisture"].iloc[-1])


def test_csv_is_read_back(client):
    answer = client.get(f"{DEMO}/series", params={"lon": LON, "lat": LAT, "format": "csv"})
    table = pd.read_csv(io.StringIO(answer.text), parse_dates=["time"])
    assert len(table) == 3
    assert table["soil_moisture"].notna().any()


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Server of two squares, to which the slices of two passes come one after the other."""
    folder = tmp_path_factory.mktemp("web_slices")
    rows = [
        (row_of(day, seconds=MORNING + late, coverage=((20, 20),)), square)
        for day in (0, 3)
        for square, late in ((SQUARE, 0), (NEIGHBOUR, 8))
    ]
    small_archive(folder / "demo", rows)
    with asking(settings_of(folder, {"demo": folder / "demo"})) as client:
        yield client


def test_a_date_is_found_by_its_id_where_its_slice_came_later(slices):
    url = slices.app.state.context.settings.archives["demo"]
    lon, lat = map(float, lonlat(NEIGHBOUR, 4100, 4100))
    first, second = (date["id"] for date in slices.get(f"{DEMO}/dates").json()["dates"])
    assert (first, second) == ("20240101T060000Z", "20240104T060000Z")
    place = {"lon": lon, "lat": lat}
    table = gssm.point_series(url, lon, lat)
    assert [f"{time:%H:%M:%S}" for time in table.index] == ["06:00:08"] * 2
    said = slices.get(f"{DEMO}/point", params={**place, "date": first}).json()
    assert (said["date"], said["time"]) == (first, "2024-01-01T06:00:08Z")
    assert same(said["soil_moisture"], table["soil_moisture"].iloc[0])
    field = geojson(shapely.box(lon, lat - 0.002, lon + 0.002, lat))
    box = ",".join(map(str, (lon, lat - 0.002, lon + 0.002, lat)))
    # The id of a date; from one to the other; and the time at which its slice came.
    for datetime, ids in (
        (first, [first]),
        ("2024-01-01T06:00:00Z/2024-01-04T06:00:00Z", [first, second]),
        ("2024-01-04T06:00:08Z", [second]),
        ("2024-01-04", [second]),
    ):
        series = slices.get(f"{DEMO}/series", params={**place, "datetime": datetime}).json()
        assert [row["date"] for row in series["rows"]] == ids, datetime
        body = {"geometry": field, "datetime": datetime}
        of_area = slices.post(f"{DEMO}/series", json=body).json()
        assert [row["date"] for row in of_area["rows"]] == ids, datetime
        asked = {"bbox": box, "datetime": datetime, "format": "csv", "variable": "soil_moisture"}
        file = slices.get(f"{DEMO}/download", params=asked)
        assert len(set(pd.read_csv(io.StringIO(file.text))["time"])) == len(ids), datetime
