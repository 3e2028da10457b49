import asyncio
import io
import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import gssm
from gssm.archive.repository import create_archive
from gssm.errors import ArchiveError, RequestError
from gssm.web import routes_tiles
from gssm.web.app import create_app
from gssm.web.headers import JsonMiddleware
from gssm.web.routing import PREFIX
from gssm.web.schemas import DatasetDetail, Landing
from gssm.web.settings import DATASET_ID, Limits, Settings
from web_apps import asking, settings_of
from web_archives import SQUARE, lonlat, small_archive

DEMO = f"{PREFIX}/datasets/demo"
LON, LAT = map(float, lonlat(SQUARE, 4100, 4100))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web_app")
    small_archive(folder / "demo")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    with asking(settings_of(folder, {"demo": folder / "demo"})) as client:
        yield client


def tile_at(lon, lat, zoom):
    side = 2**zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return f"{zoom}/{int((lon + 180) / 360 * side)}/{int(y * side)}"


TILE = f"{DEMO}/tiles/soil_moisture/latest/{tile_at(LON, LAT, 13)}"


def test_the_landing_page_says_version_links_and_limits(client):
    said = client.get(PREFIX).json()
    assert Landing.model_validate(said).version == gssm.__version__
    assert said["limits"]["box_km2"] == 2500
    links = [link["href"] for link in said["links"] if link["href"].startswith(PREFIX)]
    for href in links:
        assert client.get(href).status_code in (200, 422), href  # 422: wants parameters


def test_health_is_answered_without_a_look_at_an_archive(client):
    answer = client.get(f"{PREFIX}/health")
    assert answer.json() == {"status": "ok"}
    assert answer.headers["cache-control"] == "no-store"


def test_datasets_are_listed_and_described(client):
    (listed,) = client.get(f"{PREFIX}/datasets").json()["datasets"]
    assert listed["id"] == "demo"
    assert (listed["start"], listed["end"]) == ("2024-01-01T06:00:00Z", "2024-01-04T06:00:00Z")
    assert (listed["dates"], listed["squares"]) == (3, ["31UES"])
    said = client.get(DEMO).json()
    assert said == {**said, **listed}
    found = DatasetDetail.model_validate(said)
    assert found.version == gssm.open_archive(_url(client)).attrs["archive_version"]
    assert [v.name for v in found.variables][:1] == ["soil_moisture"]
    assert not found.true_color
    assert "zenodo" in found.citation
    assert all(sentence.endswith(".") for sentence in found.limitations)
    west, south, east, north = found.bbox
    assert west < LON < east
    assert south < LAT < north


def _url(client):
    return client.app.state.context.settings.archives["demo"]


def test_dates_of_everywhere_of_a_box_and_of_a_point(client):
    ids = ["20240101T060000Z", "20240101T180000Z", "20240104T060000Z"]
    every = client.get(f"{DEMO}/dates").json()["dates"]
    assert [date["id"] for date in every] == ids
    assert [date["provisional"] for date in every] == [False, False, True]
    assert every[1]["relative_orbit"] == 110
    assert every[1]["orbit_state"] == "descending"
    # The evening pass covers the western half alone.
    lon, lat = map(float, lonlat(SQUARE, 4100, 4300))
    of_point = client.get(f"{DEMO}/dates", params={"lon": lon, "lat": lat}).json()["dates"]
    assert [date["id"] for date in of_point] == [ids[0], ids[2]]
    box = f"{LON},{LAT},{LON + 0.001},{LAT + 0.001}"
    of_box = client.get(f"{DEMO}/dates", params={"bbox": box, "datetime": "2024-01-01"}).json()
    assert [date["id"] for date in of_box["dates"]] == ids[:2]
    nowhere = client.get(f"{DEMO}/dates", params={"lon": 100, "lat": 10})
    assert nowhere.json() == {"dates": []}


def test_colormaps_legend_and_tilejson(client):
    said = client.get(f"{PREFIX}/colormaps").json()
    assert said["default"] == "gssm"
    assert said["colormaps"][0]["colors"][0] == "#8f7131"
    legend = client.get(f"{DEMO}/legend", params={"min": 0, "max": 0.4, "colormap": "viridis"})
    assert legend.json()["type"] == "ramp"
    assert legend.json()["entries"][-1]["to"] == 0.4
    tiles = client.get(f"{DEMO}/tilejson.json", params={"date": "2024-01-01"}).json()
    assert tiles["tilejson"] == "3.0.0"
    (template,) = tiles["tiles"]
    z, x, y = tile_at(LON, LAT, tiles["maxzoom"]).split("/")
    address = template.replace("{z}", z).replace("{x}", x).replace("{y}", y)
    assert client.get(address).headers["content-type"] == "image/png"
    unknown = client.get(f"{DEMO}/tilejson.json", params={"date": "2020-01-01"})
    assert unknown.status_code == 404


def test_tiles_of_a_server_behind_a_path_lie_below_it(folder):
    app = create_app(settings_of(folder, {"demo": folder / "demo"}))
    client = TestClient(app, root_path="/soil")
    (template,) = client.get(f"/soil{DEMO}/tilejson.json").json()["tiles"]
    assert template.startswith(f"/soil{DEMO}/tiles/")


def image_of(content):
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened.convert("RGBA")), opened.format


def test_a_tile_is_an_image_in_every_size_and_format(client):
    for suffix, driver, side in (
        (".png", "PNG", 256),
        ("@2x.png", "PNG", 512),
        (".webp", "WEBP", 256),
        ("@2x.webp", "WEBP", 512),
    ):
        answer = client.get(TILE + suffix)
        assert answer.status_code == 200, answer.text
        image, found = image_of(answer.content)
        assert found == driver
        assert image.shape == (side, side, 4)
        assert image.any()
    nothing = client.get(f"{DEMO}/tiles/soil_moisture/latest/{tile_at(90, 45, 13)}.png")
    assert nothing.status_code == 200
    assert not image_of(nothing.content)[0][..., 3].any()


def test_a_tile_of_a_version_is_kept_for_ever_and_one_without_asked_for_again(client):
    version = client.get(DEMO).json()["version"]
    fixed = client.get(f"{TILE}.png", params={"version": version})
    assert "immutable" in fixed.headers["cache-control"]
    loose = client.get(f"{TILE}.png")
    assert "immutable" not in loose.headers["cache-control"]
    assert loose.headers["etag"] == fixed.headers["etag"]
    assert loose.content == fixed.content
    again = client.get(f"{TILE}.png", headers={"If-None-Match": loose.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == loose.headers["etag"]
    assert client.get(f"{TILE}.png", headers={"If-None-Match": '"other"'}).status_code == 200
    head = client.head(f"{TILE}.png")
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) == len(loose.content)
    unknown = client.get(f"{TILE}.png", params={"version": "0" * 20})
    assert unknown.status_code == 404


def test_a_warm_tile_needs_neither_a_thread_nor_the_archive(client, monkeypatch):
    version = client.get(DEMO).json()["version"]
    address, parameters = f"{TILE}.png", {"version": version, "colormap": "viridis"}
    first = client.get(address, params=parameters)

    async def refuse(*_):
        raise AssertionError("a warm tile goes to a thread")

    monkeypatch.setattr(client.app.state.context.lanes.tiles, "run_watched", refuse)
    monkeypatch.setattr(client.app.state.context.datasets, "get", refuse)
    assert client.get(address, params=parameters).content == first.content


def test_tiles_of_a_prediction_that_was_removed_are_gone(folder, tmp_path):
    with asking(settings_of(tmp_path, {"demo": folder / "demo"})) as client:
        parameters = {"version": client.get(DEMO).json()["version"]}
        assert client.get(f"{TILE}.png", params=parameters).status_code == 200
        client.app.state.context.datasets.remove("demo")
        gone = client.get(f"{TILE}.png", params=parameters)
        assert (gone.status_code, gone.json()["type"]) == (404, "urn:gssm:problem:unknown-dataset")


def test_tiles_are_kept_within_their_bytes():
    cache = routes_tiles.TileCache(100)
    for number in range(20):
        cache.keep(number, routes_tiles.tile_of(bytes(30)))
    cache.keep("large", routes_tiles.tile_of(bytes(101)))
    assert cache.bytes <= 100
    assert cache.get(19).body == bytes(30)
    assert cache.get(0) is None
    assert cache.get("large") is None


SECURITY = (
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "x-frame-options",
    "permissions-policy",
    "cross-origin-resource-policy",
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", PREFIX),
        ("GET", f"{PREFIX}/datasets/none"),
        ("GET", "/nothing"),
        ("POST", PREFIX),
        ("GET", f"{TILE}.png"),
        ("GET", f"{PREFIX}/openapi.json"),
    ],
)
def test_every_answer_has_the_headers_of_security_and_opens_to_no_other_origin(
    client, method, path
):
    answer = client.request(method, path, headers={"Origin": "https://elsewhere.example"})
    for name in SECURITY:
        assert answer.headers[name], name
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_json_is_compressed_and_has_an_etag(client):
    plain = client.get(f"{PREFIX}/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = client.get(f"{PREFIX}/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert packed.json() == plain.json()
    assert packed.headers["etag"] == plain.headers["etag"]
    assert packed.headers["vary"] == "Accept-Encoding"
    refused = client.get(f"{PREFIX}/openapi.json", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    again = client.get(f"{PREFIX}/openapi.json", headers={"If-None-Match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    tile = client.get(f"{TILE}.png", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in tile.headers


def test_the_page_and_its_files_are_sent_compressed_and_known_again(client):
    page = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-encoding"] == "gzip"
    assert page.text.lower().startswith("<!doctype html>")
    plain = client.get("/", headers={"Accept-Encoding": "identity"})
    assert plain.text == page.text
    known = {"If-None-Match": page.headers["etag"]}
    assert client.get("/", headers=known).status_code == 304
    head = client.head("/", headers={"Accept-Encoding": "identity"})
    assert (head.content, head.headers["content-length"]) == (b"", str(len(plain.content)))
    script = client.get("/static/vendor/maplibre-gl/maplibre-gl-csp.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "name",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "vendor/../../app.py",
        "/etc/passwd",
        ".hidden",
        "vendor",
        "",
        "a%00.js",
        "x" * 4000,
    ],
)
def test_no_other_file_is_sent(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_parameter_that_is_not_known_is_refused_with_those_that_are(client):
    answer = client.get(f"{DEMO}/dates", params={"url": "s3://other/archive"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "the parameter 'url' is not known here; it takes bbox, datetime, lat, lon."
    )
    answer = client.get(f"{PREFIX}/health?url=x")
    assert "it takes none" in answer.json()["detail"]
    answer = client.get(f"{DEMO}/point?lon=4&lon=5&lat=51")
    assert "'lon' comes more than once" in answer.json()["detail"]


def test_errors_of_the_router_are_problems_too(client):
    answer = client.get(f"{PREFIX}/nothing")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    answer = client.put(DEMO)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert "does not take the method PUT; it takes GET, HEAD." in answer.json()["detail"]
    # Events have no end, so that there are no headers of them alone.
    assert client.head(f"{PREFIX}/jobs/x/events").headers["allow"] == "GET"
    for found in (answer, client.get(f"{DEMO}/point", params={"lon": "x"})):
        assert found.headers["content-type"] == "application/problem+json"
        assert found.headers["cache-control"] == "no-store"
        assert set(found.json()) >= {"type", "title", "status", "detail"}


def test_what_is_wrong_with_each_field_is_told(client):
    said = client.get(f"{DEMO}/point", params={"lon": "x"}).json()
    assert said["status"] == 422
    assert [one["field"] for one in said["errors"]] == ["query.lon", "query.lat"]
    assert said["detail"].startswith("query.lon: Input should be a valid number")


def test_what_nobody_foresaw_is_logged_and_not_told(client, monkeypatch, caplog):
    def fail(_):
        raise RuntimeError(f"secret at {_url(client)}")

    monkeypatch.setattr(client.app.state.context.datasets, "get", fail)
    answer = client.get(DEMO)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    number = answer.json()["detail"].split()[2].rstrip(";")
    assert number in caplog.text
    assert "secret at" in caplog.text


def test_an_archive_that_is_gone_is_told_by_the_id_of_its_dataset(folder, tmp_path):
    shutil.copytree(folder / "demo", tmp_path / "gone")
    with asking(settings_of(tmp_path, {"lost": tmp_path / "gone"}, refresh_seconds=1e9)) as client:
        assert client.get(f"{PREFIX}/datasets/lost").status_code == 200
        shutil.rmtree(tmp_path / "gone")
        answer = client.get(f"{PREFIX}/datasets/lost/point", params={"lon": LON, "lat": LAT})
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:gssm:problem:archive"
    assert answer.json()["detail"].startswith("archive lost: ")
    assert str(tmp_path) not in answer.text


def test_two_apps_of_one_process_know_nothing_of_each_other(folder, tmp_path):
    small_archive(tmp_path / "other")
    tight = Limits(burst=3, requests_per_second=0.001)
    with (
        asking(settings_of(tmp_path, {"other": tmp_path / "other"}, limits=tight)) as second,
        asking(settings_of(folder / "second", {"demo": folder / "demo"})) as first,
    ):
        assert first.get(f"{PREFIX}/datasets/other").status_code == 404
        assert second.get(f"{PREFIX}/datasets/demo").status_code == 404
        for _ in range(5):
            last = second.get(f"{PREFIX}/health")
        assert last.status_code == 429
        assert first.get(f"{PREFIX}/health").status_code == 200
        assert first.app.state.tiles is not second.app.state.tiles


def test_what_cannot_be_served_is_refused_at_the_start(tmp_path):
    with pytest.raises(ArchiveError, match="there is none"):
        create_app(settings_of(tmp_path, {"demo": tmp_path / "nothing"}))
    with pytest.raises(RequestError, match="at least one"):
        Settings({})
    with pytest.raises(RequestError, match="no id of a dataset"):
        Settings({"../demo": "demo"})
    small_archive(tmp_path / "demo")
    proxies = settings_of(tmp_path, {"demo": tmp_path / "demo"}, trusted_proxies=("nonsense",))
    with pytest.raises(RequestError, match="trusted proxy"):
        create_app(proxies)


def test_ids_cannot_be_paths():
    for name in ("", "A", "a/b", "..", "-a", "a.b", "a" * 65, "é"):
        assert not DATASET_ID.fullmatch(name), name


def test_the_description_tells_all_of_every_endpoint(client):
    said = client.get(f"{PREFIX}/openapi.json").json()
    assert said["openapi"].startswith("3.1")
    assert "Problem" in said["components"]["schemas"]
    tags = {tag["name"] for tag in said["tags"]}
    for path, methods in said["paths"].items():
        assert path.startswith(PREFIX)
        for method, one in methods.items():
            where = f"{method} {path}"
            assert one["summary"], where
            assert len(one.get("description", "")) > 10, where
            assert set(one["tags"]) <= tags, where
            assert "422" in one["responses"], where
            for status, response in one["responses"].items():
                if status >= "400":
                    assert "application/problem+json" in response["content"], where
            for parameter in one.get("parameters", ()):
                assert parameter.get("description"), f"{where} {parameter['name']}"


def test_the_description_loads_nothing_from_elsewhere(client):
    for path in ("/docs", "/redoc", f"{PREFIX}/docs"):
        assert client.get(path).status_code == 404


def test_json_never_has_nan(client):
    # Water: a pixel without a value.
    rows, columns = np.mgrid[4000:4400, 4000:4400]
    water = np.argwhere((rows // 37 + columns // 41) % 9 == 0)[0] + 4000
    lon, lat = map(float, lonlat(SQUARE, *water))
    answer = client.get(f"{DEMO}/point", params={"lon": lon, "lat": lat})
    said = json.loads(answer.text, parse_constant=pytest.fail)
    assert said["soil_moisture"] is None
    assert said["interval"] is None
    assert said["flags"][0]["name"] == "water"
    assert said["flags"][0]["description"]


def test_events_and_streams_pass_as_they_come():
    sent, asked = [], [(b"accept-encoding", b"gzip")]

    async def stream(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(3):
            more = {"type": "http.response.body", "body": bytes(2000), "more_body": number < 2}
            await send(more)
            assert sent[-1] == more  # at once

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": asked}
    asyncio.run(JsonMiddleware(stream)(scope, None, keep))
    assert len(sent) == 4
    assert all(name != b"content-encoding" for name, _ in sent[0]["headers"])


def test_an_archive_without_a_date_is_served_and_says_so(tmp_path):
    create_archive(str(tmp_path / "new"))
    new = f"{PREFIX}/datasets/new"
    box = "4.5,51.4,4.51,51.41"
    ring = [[4.5, 51.4], [4.51, 51.4], [4.51, 51.41], [4.5, 51.4]]
    with asking(settings_of(tmp_path, {"new": tmp_path / "new"})) as client:
        said = client.get(new).json()
        assert (said["dates"], said["bbox"], said["start"], said["squares"]) == (0, None, None, [])
        assert client.get(f"{PREFIX}/datasets").status_code == 200
        assert client.get(f"{new}/dates").json() == {"dates": []}
        assert client.get(f"{new}/dates", params={"bbox": box}).json() == {"dates": []}
        for answer in (
            client.get(f"{new}/point", params={"lon": 4.5, "lat": 51.4}),
            client.get(f"{new}/series", params={"lon": 4.5, "lat": 51.4}),
            client.get(f"{new}/tilejson.json"),
            client.get(
                f"{new}/download", params={"bbox": box, "datetime": "2024", "format": "cog"}
            ),
            client.post(
                f"{new}/series", json={"geometry": {"type": "Polygon", "coordinates": [ring]}}
            ),
            client.post(
                f"{new}/statistics", json={"bbox": [4.5, 51.4, 4.51, 51.41], "date": "latest"}
            ),
        ):
            assert answer.status_code == 404, answer.text
            assert str(tmp_path) not in answer.text
        tile = client.get(f"{new}/tiles/soil_moisture/latest/5/16/10.png")
        assert tile.status_code in (200, 404)
