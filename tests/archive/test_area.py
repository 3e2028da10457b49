"""Areas: numbers, files, and what is none."""

import json

import pytest
import shapely

from gssm.archive.area import area_of_box, in_degrees, read_area
from gssm.errors import RequestError

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[3, 50], [4, 50], [4, 51], [3, 51], [3, 50]]],
}


def feature(geometry):
    return {"type": "Feature", "properties": None, "geometry": geometry}


@pytest.mark.parametrize("words", ["3 50 4 51", "3,50,4,51", " 3, 50, 4, 51 "])
def test_four_numbers_are_a_box(words):
    assert read_area(words).equals(shapely.box(3, 50, 4, 51))


def test_a_box_across_180_has_two_parts():
    area = area_of_box((179, -18, -179, -17))
    assert area.bounds == (-180, -18, 180, -17)
    assert area.area == pytest.approx(2)
    assert in_degrees((179, -18, -179, -17)).equals(area)
    assert area_of_box((-180, -60, 180, 75)).area == 360 * 135


@pytest.mark.parametrize(
    "content",
    [
        SQUARE,
        feature(SQUARE),
        {"type": "FeatureCollection", "features": [feature(SQUARE), feature(None)]},
        {"type": "GeometryCollection", "geometries": [SQUARE]},
        {**SQUARE, "crs": {"properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}},
    ],
)
def test_a_file_of_polygons(tmp_path, content):
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps(content))
    assert read_area(file).equals(shapely.box(3, 50, 4, 51))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable GeoJSON"),
        ("[]", "not a readable GeoJSON"),
        (json.dumps({"type": "Point", "coordinates": [3, 50]}), "holds Point"),
        (json.dumps({"type": "FeatureCollection", "features": []}), "holds nothing"),
        (
            json.dumps({**SQUARE, "crs": {"properties": {"name": "EPSG:32631"}}}),
            "coordinates in EPSG:32631",
        ),
        (
            json.dumps(shapely.geometry.mapping(shapely.box(5e5, 5e6, 6e5, 5.1e6))),
            "no area in degrees",
        ),
    ],
)
def test_what_is_no_area(tmp_path, content, message):
    file = tmp_path / "area.geojson"
    file.write_text(content)
    with pytest.raises(RequestError, match=message):
        read_area(file)


@pytest.mark.parametrize(
    "words", ["nowhere.geojson", "3 50 4", "3 50 nan 51", "3 50 3 51", "190 50 191 51", "a b c d"]
)
def test_words_that_are_no_area(words):
    with pytest.raises(RequestError):
        read_area(words)
