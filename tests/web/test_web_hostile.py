"""Requests that mean no good, or no sense: each gets its own 4xx and a sentence that helps."""

import json
from urllib.parse import quote

import pytest

from gssm.web.app import create_app
from gssm.web.routing import PREFIX
from web_apps import LOOSE, serving, settings_of
from web_archives import SQUARE, lonlat, small_archive

DEMO = f"{PREFIX}/datasets/demo"
LON, LAT = (round(float(value), 5) for value in lonlat(SQUARE, 4100, 4100))
POINT = f"{DEMO}/point?lon={LON}&lat={LAT}"
TILES = f"{DEMO}/tiles"
TILE = f"{TILES}/soil_moisture/latest"
DOWNLOAD = f"{DEMO}/download?format=netcdf&datetime=2024"
SQL = quote("demo'; DROP TABLE datasets;--")
SCRIPT = quote("<script>alert(1)")
# Digits, to Python: of a number, and of a day.
ARABIC, ARABIC_DAY = quote("\u0664.\u0665"), quote("\u0662\u0660\u0662\u0664-01-01")
RING = [[LON, LAT], [LON + 0.002, LAT], [LON, LAT - 0.002], [LON, LAT]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def star(number):
    """A ring of many vertices."""
    up = [[round(4 + n * 1e-5, 5), 51] for n in range(number)]
    return [*up, [4, 50], up[0]]


def field(geometry, **more):
    return json.dumps({"geometry": geometry, **more})


def statistics(**content):
    return json.dumps(content)


BOW = [[4.5, 51.4], [4.51, 51.41], [4.51, 51.4], [4.5, 51.41], [4.5, 51.4]]
EASTING = [[500000, 5600000], [500100, 5600000], [500100, 5600100], [500000, 5600000]]
# What it is, address, status, and what the sentence says.
GETS = [
    ("up from a dataset", f"{PREFIX}/datasets/../../etc/passwd", 404, "nothing at this address"),
    ("up, encoded", f"{PREFIX}/datasets/..%2f..%2fetc%2fpasswd", 404, "nothing at this address"),
    ("up, twice encoded", f"{PREFIX}/datasets/..%252f..%252fetc", 404, "no dataset"),
    ("dots as a dataset", f"{PREFIX}/datasets/%2e%2e", 404, "no dataset '..'"),
    ("a path as a dataset", f"{PREFIX}/datasets/%2Fetc%2Fpasswd", 404, "nothing at this address"),
    ("backslashes", f"{PREFIX}/datasets/..%5c..%5cetc", 404, "no dataset"),
    ("SQL as a dataset", f"{PREFIX}/datasets/{SQL}", 404, "no dataset"),
    ("a script as a dataset", f"{PREFIX}/datasets/%3Cscript%3E", 404, "no dataset"),
    ("a null byte", f"{PREFIX}/datasets/demo%00.png", 404, "no dataset"),
    ("bytes that are no text", f"{PREFIX}/datasets/%ff%fe", 404, "no dataset"),
    ("another header", f"{PREFIX}/datasets/a%0d%0aSet-Cookie:%20a=b", 404, "no dataset"),
    ("half of a pair", f"{PREFIX}/datasets/%ed%a0%80", 404, "no dataset"),
    ("bytes as a date", f"{POINT}&date=%ff%00", 422, "is none; give an id"),
    ("a percent alone", f"{PREFIX}/datasets/%", 404, "no dataset"),
    ("a long id", f"{PREFIX}/datasets/{'a' * 65}", 422, "at most 64 characters"),
    ("an address as a dataset", f"{PREFIX}/datasets/s3:%2F%2Fbucket", 404, "nothing at this"),
    ("up from a file", "/static/../../../../etc/passwd", 404, "no such file of the page"),
    ("up from a file, encoded", "/static/%2e%2e/%2e%2e/settings.py", 404, "no such file"),
    ("a hidden file", "/static/.git/config", 404, "no such file"),
    ("up from a variable", f"{TILES}/..%2f/latest/5/1/1.png", 404, "nothing at this address"),
    ("a variable that is none", f"{TILES}/s3:bucket/latest/5/16/10.png", 422, "is not on any map"),
    ("SQL as a variable", f"{TILES}/{SQL}/latest/5/16/10.png", 422, "is not on any map"),
    ("a date that is none", f"{TILES}/soil_moisture/{SCRIPT}/5/16/10.png", 422, "is none; give"),
    ("up from a date", f"{TILES}/soil_moisture/%2e%2e/5/16/10.png", 422, "date '..' is none"),
    ("zoom below zero", f"{TILE}/-1/0/0.png", 422, "greater than or equal to 0"),
    ("zoom beyond all", f"{TILE}/99999999999999999999/0/0.png", 422, "path.z"),
    ("zoom in words", f"{TILE}/five/0/0.png", 422, "valid integer"),
    ("zoom in digits of others", f"{TILE}/{quote(chr(0x665))}/0/0.png", 422, "valid integer"),
    ("zoom beyond the tiles", f"{TILE}/29/0/0.png", 422, "beyond the tiles of dataset demo"),
    ("a column off the map", f"{TILE}/5/32/0.png", 422, "is not on the map"),
    ("a row below zero", f"{TILE}/5/0/-1.png", 422, "should match pattern"),
    ("a row with more", f"{TILE}/5/0/1@3x.png", 422, "should match pattern"),
    ("another format", f"{TILE}/5/16/10.exe", 422, "'png' or 'webp'"),
    ("no format", f"{TILE}/5/16/10", 404, "nothing at this address"),
    ("a colormap that is none", f"{TILE}/5/16/10.png?colormap=..%2f", 422, "does not fit"),
    ("colours to infinity", f"{TILE}/5/16/10.png?max=inf", 422, "finite number"),
    ("colours that go back", f"{TILE}/5/16/10.png?min=1&max=0", 422, "is not below max"),
    ("a version that is a path", f"{TILE}/5/16/10.png?version=..%2f..", 404, "no version"),
    ("an address to read from", f"{TILE}/5/16/10.png?url=http://169.254.169.254/", 422, "'url'"),
    ("an expression", f"{TILE}/5/16/10.png?expression=b1**99", 422, "'expression' is not known"),
    ("an address of a dataset", f"{PREFIX}/datasets?url=file:///etc", 422, "it takes none"),
    ("not a number", f"{DEMO}/point?lon=nan&lat=51", 422, "finite number"),
    ("infinity", f"{DEMO}/point?lon=4&lat=-Infinity", 422, "finite number"),
    ("digits of others", f"{DEMO}/point?lon={ARABIC}&lat=51", 422, "valid number"),
    ("no earth", f"{DEMO}/point?lon=181&lat=51", 422, "less than or equal to 180"),
    ("beyond the squares", f"{DEMO}/point?lon=4&lat=85", 422, "84 degrees north"),
    ("SQL as a number", f"{DEMO}/point?lon=4;DROP&lat=51", 422, "query.lon: Input should be"),
    ("one parameter twice", f"{POINT}&lon=5", 422, "'lon' comes more than once"),
    ("a list of a parameter", f"{POINT}&date[]=latest", 422, "'date[]' is not known here"),
    ("a date of letters", f"{POINT}&date={SQL}", 422, "is none; give an id"),
    ("the year 9999", f"{POINT}&date=9999-12-31", 422, "beyond the years 1900 to 2200"),
    ("a day that is none", f"{POINT}&date=2024-02-31", 422, "no day of the calendar"),
    ("an id that is no time", f"{POINT}&date=20241399T996199Z", 422, "no day of the calendar"),
    ("a date in digits of others", f"{POINT}&date={ARABIC_DAY}", 422, "is none; give"),
    ("a period that goes back", f"{DEMO}/dates?datetime=2024-06/2024-01", 422, "swap the two"),
    ("a period without end", f"{DEMO}/dates?datetime=2024-06/..", 422, "is no period; write"),
    ("a period of three", f"{DEMO}/dates?datetime=2024/2024/2024", 422, "is no period; write"),
    ("a period of 9999", f"{DEMO}/dates?datetime=9999", 422, "beyond the years 1900 to 2200"),
    ("a period too long", f"{DOWNLOAD[:-4]}1950/2024&bbox=4,51,4.1,51.1", 422, "at most 366"),
    ("a day too many", f"{DEMO}/dates?datetime=2024-02-31", 422, "is not a date"),
    ("a box of three", f"{DOWNLOAD}&bbox=1,2,3", 422, "is not four numbers"),
    ("a box of NaN", f"{DOWNLOAD}&bbox=nan,0,1,1", 422, "'nan' is no number"),
    ("a box of inf", f"{DOWNLOAD}&bbox=0,0,inf,1", 422, "'inf' is no number"),
    ("a box of 1e309", f"{DOWNLOAD}&bbox=0,0,1e309,1", 422, "'1e309' is no number"),
    ("a box of hex", f"{DOWNLOAD}&bbox=0x1,0,1,1", 422, "'0x1' is no number"),
    ("a box with underscores", f"{DOWNLOAD}&bbox=1_0,0,11,1", 422, "'1_0' is no number"),
    ("a box in digits of others", f"{DOWNLOAD}&bbox={ARABIC},0,5,1", 422, "is no number"),
    ("a huge box", f"{DOWNLOAD}&bbox=-180,-90,180,90", 422, "more than 5 degrees wide"),
    ("a large box", f"{DOWNLOAD}&bbox=3,50,6,52", 422, "at most 2,500 km2 are served"),
    ("a box crossed", f"{DOWNLOAD}&bbox=4.6,51.4,4.5,51.5", 422, "has west > east; swap them"),
    ("a box upside down", f"{DOWNLOAD}&bbox=4.5,51.5,4.6,51.4", 422, "has south > north"),
    ("a box beyond the poles", f"{DOWNLOAD}&bbox=4.5,89,4.6,91", 422, "outside the world"),
    ("a box at the pole", f"{DOWNLOAD}&bbox=4.5,89.9,4.6,90", 422, "84 north"),
    ("a box of nothing", f"{DOWNLOAD}&bbox=4.5,51.4,4.5,51.5", 422, "has zero area"),
    ("a box elsewhere", f"{DOWNLOAD}&bbox=100,10,100.1,10.1", 404, "archive demo holds nothing"),
    (
        "another format of file",
        f"{DEMO}/download?format=exe&bbox=4,51,5,52&datetime=2024",
        422,
        "'cog', 'netcdf', 'zarr'",
    ),
    ("a variable of another", f"{DOWNLOAD}&bbox=4,51,4.1,51.1&variable=..%2f", 422, "is none that"),
    ("no box for a job", f"{PREFIX}/catalog/dates?datetime=2024-01", 422, "no place is given"),
    ("half a point", f"{DEMO}/dates?lon=4", 422, "a point needs both lon and lat"),
    ("a job that is a path", f"{PREFIX}/jobs/..%2f..%2fetc", 404, "nothing at this address"),
    ("a job that is none", f"{PREFIX}/jobs/{SQL}", 404, "there is no job"),
    ("events of no job", f"{PREFIX}/jobs/none/events", 404, "there is no job 'none'"),
    ("a very long address", f"{POINT}&date={'9' * 9000}", 414, "may have 8192; send a polygon"),
    ("a file of the system", "/etc/passwd", 404, "nothing at this address"),
    ("a well-known hole", "/.env", 404, "nothing at this address"),
    ("slashes", "//evil.example/%2e%2e", 404, "nothing at this address"),
]
JSON = {"Content-Type": "application/json"}
# What it is, address, body, headers, status, and what the sentence says.
POSTS = [
    ("10 000 vertices", "series", field(polygon(star(9_998))), JSON, 422, "has 10000 vertices"),
    ("a ring across itself", "series", field(polygon(BOW)), JSON, 422, "is not valid (Self-inter"),
    ("a ring that is open", "series", field(polygon([*RING[:3], [4, 51]])), JSON, 422, "end each"),
    (
        "coordinates in metres",
        "series",
        field(polygon(EASTING)),
        JSON,
        422,
        "not on earth",
    ),
    ("a ring of two", "series", field(polygon(RING[:2])), JSON, 422, "at least 4 items"),
    (
        "a point as an area",
        *("series", field({"type": "Point", "coordinates": [4, 51]}), JSON, 422),
        "'Polygon', 'MultiPolygon'",
    ),
    (
        "a polygon of the earth",
        *("series", field(polygon([[-179, -70], [179, -70], [0, 80], [-179, -70]])), JSON, 422),
        "at most 5 are served at once",
    ),
    (
        "NaN in a ring",
        *("series", field(polygon([[float("nan"), 1], [2, 2], [3, 1], [1, 1]])), JSON, 422),
        "finite number",
    ),
    (
        "infinity in a ring",
        *("series", field(polygon([[float("inf"), 1], [2, 2], [3, 1], [1, 1]])), JSON, 422),
        "finite number",
    ),
    ("words in a ring", "series", field(polygon([["a", "b"]] * 4)), JSON, 422, "valid number"),
    ("a field more", "series", field(polygon(RING), url="s3://x"), JSON, 422, "not permitted"),
    ("nothing", "series", "", JSON, 422, "Field required"),
    ("no object", "series", "[]", JSON, 422, "valid dictionary"),
    ("half an object", "series", '{"geometry": ', JSON, 400, "is no JSON"),
    ("words", "series", "DROP TABLE", JSON, 400, "is no JSON"),
    ("bytes", "series", b"\xff\xfe\x00", JSON, 400, "cannot be read; send JSON"),
    ("a deep list", "series", "[" * 100_000 + "]" * 100_000, JSON, 400, "not nested too deeply"),
    ("a deep object", "series", '{"a":' * 40_000 + "1" + "}" * 40_000, JSON, 400, "not nested"),
    ("a long number", "series", "9" * 10_000, JSON, 400, "cannot be read; send JSON"),
    ("a large body", "series", " " * 300_000, JSON, 413, "more than 256000 bytes; simplify"),
    ("a form", "series", "a=1", {"Content-Type": "text/plain"}, 415, "Content-Type: application"),
    ("XML", "series", "<a/>", {"Content-Type": "application/xml"}, 415, "is not plain JSON"),
    ("no type", "series", "{}", {}, 415, "is not plain JSON"),
    ("packed", "series", "{}", {**JSON, "Content-Encoding": "gzip"}, 415, "is not plain JSON"),
    (
        "box and geometry",
        *("statistics", statistics(bbox=[4, 51, 5, 52], geometry=polygon(RING), date="latest")),
        *(JSON, 422, "either geometry or bbox"),
    ),
    ("neither", "statistics", statistics(date="latest"), JSON, 422, "either geometry or bbox"),
    (
        "a box of five",
        *("statistics", statistics(bbox=[1, 2, 3, 4, 5], date="latest"), JSON, 422),
        "at most 4 items",
    ),
    (
        "a huge box",
        *("statistics", statistics(bbox=[0, 0, 4.9, 4.9], date="latest"), JSON, 422),
        "at most 2,500 km2",
    ),
    (
        "a box of words",
        *("statistics", statistics(bbox=["a", 0, 1, 1], date="latest"), JSON, 422),
        "valid number",
    ),
    (
        "a date that is SQL",
        *("statistics", statistics(bbox=[4, 51, 4.1, 51.1], date="1' OR '1'='1"), JSON, 422),
        "is none; give",
    ),
    (
        "a date that is too long",
        *("statistics", statistics(bbox=[4, 51, 4.1, 51.1], date="9" * 99), JSON, 422),
        "at most 32 characters",
    ),
]
OTHERS = [
    ("a method that is none", "BREW", DEMO, 405, "does not take the method BREW; it takes GET"),
    ("deleting an archive", "DELETE", DEMO, 405, "does not take the method DELETE"),
    ("writing a file", "PUT", "/static/index.html", 405, "it takes GET, HEAD"),
    ("asking who may", "OPTIONS", DEMO, 405, "does not take the method OPTIONS"),
    ("tracing", "TRACE", DEMO, 405, "does not take the method TRACE"),
    ("deleting no job", "DELETE", f"{PREFIX}/jobs/none", 404, "there is no job 'none'"),
    ("posting to a tile", "POST", f"{TILE}/5/16/10.png", 405, "does not take the method POST"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web_hostile")
    small_archive(folder / "demo")
    app = create_app(settings_of(folder, {"demo": folder / "demo"}, limits=LOOSE))
    with serving(app) as served:
        served.secrets = [str(folder), "site-packages", "Traceback", "gssm/web"]
        yield served


def check(served, answer, status, says):
    assert answer.status == status, answer.body[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    said = answer.json()
    assert said["status"] == status
    assert says in said["detail"], said["detail"]
    assert said["detail"].endswith(".")
    assert len(said["detail"]) <= 600
    assert "set-cookie" not in answer.headers
    for secret in served.secrets:
        assert secret.encode() not in answer.body


@pytest.mark.parametrize(
    ("target", "status", "says"), [row[1:] for row in GETS], ids=[row[0] for row in GETS]
)
def test_hostile_addresses(served, target, status, says):
    check(served, served.ask("GET", target), status, says)


@pytest.mark.parametrize(
    ("where", "body", "headers", "status", "says"),
    [row[1:] for row in POSTS],
    ids=[row[0] for row in POSTS],
)
def test_hostile_bodies(served, where, body, headers, status, says):
    body = body.encode() if isinstance(body, str) else body
    answer = served.ask("POST", f"{DEMO}/{where}", body, headers.items())
    check(served, answer, status, says)


@pytest.mark.parametrize(
    ("method", "target", "status", "says"), [row[1:] for row in OTHERS], ids=[r[0] for r in OTHERS]
)
def test_hostile_methods(served, method, target, status, says):
    check(served, served.ask(method, target), status, says)


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=10-5"},
        {"Range": "bytes=" + ",".join(f"{n}-{n}" for n in range(500))},
        {"If-None-Match": "\x01" + "a" * 4000},
        {"Accept-Encoding": "gzip;q=nonsense,,;;"},
        {"X-Forwarded-For": "127.0.0.1, ../../etc"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Host": "evil.example"},
        {"Origin": "null"},
        {"Cookie": "a=" + "b" * 4000},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_headers_that_say_something_else_change_nothing(served, headers):
    headers = {name: value.replace("\x01", "") for name, value in headers.items()}
    answer = served.ask("GET", POINT, headers=headers.items())
    assert answer.status == 200
    assert answer.json()["square"] == "31UES"
    assert "evil" not in str(answer.headers)


def test_requests_that_are_no_http_get_an_error_and_the_server_goes_on(served):
    for lines in (
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: nonsense\r\n\r\n",
        b"GET /" + b"a" * 80_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        said = served.send(lines, b"\r\n\r\n", wait=0.05)
        assert said.startswith(b"HTTP/1.1 4"), (lines[:40], said[:100])
    assert served.ask("GET", f"{PREFIX}/health").status == 200


def test_there_are_enough_of_them():
    rows = len(GETS) + len(POSTS) + len(OTHERS)
    assert rows >= 40
    names = [row[0] for row in (*GETS, *POSTS, *OTHERS)]
    assert len(set(GETS)) == len(GETS)
    assert all(names)
