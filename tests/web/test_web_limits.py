import asyncio
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.errors import ArchiveError, RequestError
from gssm.web.app import create_app
from gssm.web.lanes import BusyError, CrowdedError, GivenUpError, Lane, LateError, Watch
from gssm.web.limits import Buckets, client_address, networks_of
from gssm.web.problems import clean, kind_of, problem, secrets_of
from gssm.web.routing import PREFIX
from gssm.web.settings import Limits, Settings
from web_apps import asking, serving, settings_of
from web_archives import small_archive
from web_jobs import wait_for

DEMO = f"{PREFIX}/datasets/demo"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web_limits")
    small_archive(folder / "demo")
    return folder


@pytest.fixture
def client(folder, tmp_path):
    with asking(settings_of(tmp_path, {"demo": folder / "demo"})) as client:
        yield client


def app_of(folder, tmp_path, **limits):
    return create_app(settings_of(tmp_path, {"demo": folder / "demo"}, limits=Limits(**limits)))


def test_a_bucket_is_empty_after_its_burst_and_fills_again():
    clock = Clock()
    buckets = Buckets(2.0, 5, 100, clock)
    assert [buckets.take("a") for _ in range(5)] == [0] * 5
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 1000
    assert sum(buckets.take("a") == 0 for _ in range(20)) == 5


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3)), max_size=60))
def test_no_client_gets_more_than_burst_and_rate_allow(steps):
    clock = Clock()
    buckets = Buckets(1.5, 4, 100, clock)
    given_out, start = {}, clock.now
    for client, pause in steps:
        clock.now += pause
        given_out[client] = given_out.get(client, 0) + (buckets.take(str(client)) == 0)
    for number in given_out.values():
        assert number <= 4 + 1.5 * (clock.now - start) + 1e-9


def test_clients_are_remembered_in_a_bounded_table():
    buckets = Buckets(1, 2, 50, Clock())
    for number in range(10_000):
        assert buckets.take(f"client {number}") == 0
    assert len(buckets) == 50


def scope_of(peer, *forwarded):
    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    return {"client": (peer, 1), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("1.2.3.4", ["9.9.9.9"], [], "1.2.3.4"),
        ("1.2.3.4", ["9.9.9.9"], ["10.0.0.0/8"], "1.2.3.4"),
        ("10.1.1.1", ["9.9.9.9"], ["10.0.0.0/8"], "9.9.9.9"),
        # What a client writes stands before what the proxy adds.
        ("10.1.1.1", ["6.6.6.6, 9.9.9.9"], ["10.0.0.0/8"], "9.9.9.9"),
        ("10.1.1.1", ["6.6.6.6", "9.9.9.9"], ["10.0.0.0/8"], "9.9.9.9"),
        ("10.1.1.1", ["9.9.9.9, 10.2.2.2"], ["10.0.0.0/8"], "9.9.9.9"),
        ("10.1.1.1", ["nonsense"], ["10.0.0.0/8"], "10.1.1.1"),
        ("10.1.1.1", [], ["10.0.0.0/8"], "10.1.1.1"),
        # Some proxies add the port, and a socket for both kinds shows IPv4 as IPv6.
        ("10.1.1.1", ["6.6.6.6, 9.9.9.9:1234"], ["10.0.0.0/8"], "9.9.9.9"),
        ("10.1.1.1", ["[2001:db8:1:2:3::4]:99"], ["10.0.0.0/8"], "2001:db8:1:2::/64"),
        ("::ffff:10.1.1.1", ["9.9.9.9"], ["10.0.0.0/8"], "9.9.9.9"),
        ("::1", ["2001:db8:1:2:3::4"], ["::1"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], [], "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", [], [], "1.2.3.4"),
    ],
)
def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(
    peer, forwarded, trusted, client
):
    assert client_address(scope_of(peer, *forwarded), networks_of(trusted)) == client


def test_too_many_requests_are_told_when_to_come_again(folder, tmp_path):
    limits = Limits(burst=3, requests_per_second=0.5)
    with asking(settings_of(tmp_path, {"demo": folder / "demo"}, limits=limits)) as client:
        answers = [client.get(f"{PREFIX}/health") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["type"] == "urn:gssm:problem:too-many-requests"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3


def test_behind_a_trusted_proxy_each_client_has_its_own_rate(folder, tmp_path):
    app = create_app(
        settings_of(
            tmp_path,
            {"demo": folder / "demo"},
            limits=Limits(burst=1, requests_per_second=0.001),
            trusted_proxies=("127.0.0.1",),
        )
    )
    with serving(app) as served:
        for address in ("9.9.9.9", "8.8.8.8"):
            headers = {"X-Forwarded-For": address}
            first = served.ask("GET", f"{PREFIX}/health", headers=headers.items())
            second = served.ask("GET", f"{PREFIX}/health", headers=headers.items())
            assert (first.status, second.status) == (200, 429)


BODY = b'{"bbox": [4.5, 51.4, 4.51, 51.41], "date": "latest"}'


def post(*headers):
    lines = [f"POST {DEMO}/statistics HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_bodies_that_are_slow_large_or_of_another_type(folder, tmp_path):
    app = app_of(folder, tmp_path, body_seconds=0.3, body_bytes=1000, burst=1000)
    json_type = "Content-Type: application/json"
    with serving(app) as served:
        began = time.monotonic()
        slow = served.send(post(json_type, "Content-Length: 60") + b'{"bbox"')
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert b"the body was not there after 0.3 s" in slow
        assert b"connection: close" in slow.lower()
        # A byte now and then makes it no faster.
        drip = served.send(
            post(json_type, "Content-Length: 60"), *[bytes([c]) for c in BODY[:3]], wait=0.05
        )
        assert drip.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 10
        told = served.send(post(json_type, "Content-Length: 1001"))
        assert told.startswith(b"HTTP/1.1 413 ")
        assert b"more than 1000 bytes" in told
        piece = b"400\r\n" + b" " * 0x400 + b"\r\n"
        chunked = served.send(post(json_type, "Transfer-Encoding: chunked") + piece)
        assert chunked.startswith(b"HTTP/1.1 413 ")
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
            other = served.ask("POST", f"{DEMO}/statistics", BODY, {"Content-Type": kind}.items())
            assert other.status == 415
            assert "Content-Type: application/json" in other.json()["detail"]
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert served.ask("POST", f"{DEMO}/statistics", BODY, packed.items()).status == 415


def test_a_server_that_knows_its_names_answers_to_no_other(folder, tmp_path):
    named = settings_of(tmp_path, {"demo": folder / "demo"}, hosts=("soil.example.org", "[::1]"))
    with asking(named) as client:
        for host, status in (
            ("soil.example.org", 200),
            ("Soil.Example.org:8000", 200),
            ("[::1]:8000", 200),
            ("evil.example", 421),
            ("soil.example.org.evil.example", 421),
            ("", 421),
        ):
            answer = client.get(f"{PREFIX}/health", headers={"Host": host})
            assert answer.status_code == status, host
    assert answer.json()["type"] == "urn:gssm:problem:other-host"


def test_a_long_address_is_refused(folder, tmp_path):
    with asking(
        settings_of(tmp_path, {"demo": folder / "demo"}, limits=Limits(url_bytes=200))
    ) as client:
        answer = client.get(f"{DEMO}/dates?bbox={'1' * 200}")
    assert answer.status_code == 414
    assert "may have 200; send a polygon in the body" in answer.json()["detail"]


def in_loop(coroutine):
    return asyncio.run(coroutine)


def test_a_lane_runs_so_many_at_once_and_lets_so_many_wait():
    lane = Lane("reads", 2, 3, 30)
    go_on, running, most = threading.Event(), [0, 0], threading.Lock()

    def work():
        with most:
            running[0] += 1
            running[1] = max(running)
        assert go_on.wait(10)
        with most:
            running[0] -= 1

    async def many():
        tasks = [asyncio.create_task(lane.run(work)) for _ in range(5)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError, match="busy \\(reads\\)"):
            await lane.run(work)
        go_on.set()
        await asyncio.gather(*tasks)
        await lane.run(int)

    in_loop(many())
    lane.close()
    assert running == [0, 2]
    assert lane._taken == 0


def test_tiles_are_not_starved_by_other_work():
    async def race():
        reads, tiles = Lane("reads", 1, 100, 30), Lane("tiles", 1, 10, 30)
        hold = threading.Event()
        slow = [asyncio.create_task(reads.run(hold.wait, 10)) for _ in range(20)]
        assert await asyncio.wait_for(tiles.run(lambda: "tile"), 5) == "tile"
        hold.set()
        await asyncio.gather(*slow)
        reads.close()
        tiles.close()

    in_loop(race())


def test_points_and_dates_do_not_wait_for_areas(folder, tmp_path, monkeypatch):
    go_on, begun = threading.Event(), threading.Event()

    def slow(*_):
        begun.set()
        assert go_on.wait(20)
        return {}

    monkeypatch.setattr("gssm.web.routes_queries.statistics", slow)
    limits = Limits(read_threads=1, area_threads=1)
    with asking(settings_of(tmp_path, {"demo": folder / "demo"}, limits=limits)) as client:
        box = {"bbox": [4.5, 51.4, 4.51, 51.41], "date": "latest"}
        asked = [
            threading.Thread(target=client.post, args=[f"{DEMO}/statistics"], kwargs={"json": box})
            for _ in range(3)
        ]
        for thread in asked:
            thread.start()
        assert begun.wait(20)
        assert client.get(f"{DEMO}/dates").status_code == 200
        go_on.set()
        for thread in asked:
            thread.join(20)


def test_an_answer_that_takes_too_long_is_told_so_and_its_place_comes_back():
    lane = Lane("reads", 1, 5, 0.05)
    go_on = threading.Event()

    async def late():
        with pytest.raises(LateError, match=r"longer than 0\.05 s"):
            await lane.run(go_on.wait, 10)
        with pytest.raises(LateError):  # waits for the thread
            await lane.run(int)
        go_on.set()
        await asyncio.sleep(0.2)
        assert await lane.run(int) == 0

    in_loop(late())
    lane.close()
    assert lane._taken == 0


def test_an_error_of_the_work_is_handed_on():
    def fail():
        raise TimeoutError("of the work itself")

    async def run():
        with pytest.raises(TimeoutError, match="of the work itself"):
            await Lane("reads", 1, 1, 30).run(fail)

    in_loop(run())


def test_places_of_one_client_are_counted():
    lane = Lane("downloads", 1, 2, 30)
    with lane.place("a", 1):
        with pytest.raises(CrowdedError), lane.place("a", 1):
            pass
        others = lane.place("b", 1), lane.place("c", 1)
        with others[0], others[1], pytest.raises(BusyError), lane.place("d", 1):
            pass
    assert lane._taken == 0
    assert not lane._clients
    lane.close()


def test_a_watch_ends_work():
    watch = Watch()
    watch.check()
    watch.end()
    with pytest.raises(GivenUpError):
        watch.check()


SECRETS = {
    "/srv/archives/flanders": "flanders",
    "/srv/archives/fl": "other",
    "s3://bucket/path/to": "bucket",
    "/srv/data": "the server's folder",
}


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        (
            "archive /srv/archives/flanders: there is none; check it.",
            "archive flanders: there is none; check it.",
        ),
        (
            "archive /srv/archives/flanders/refs/x: it is damaged.",
            "archive flanders: it is damaged.",
        ),
        ("archive s3://bucket/path/to holds nothing.", "archive bucket holds nothing."),
        ("archive s3://bucket/path/to/a/b?sig=abc holds", "archive bucket holds"),
        ("archive s3://user:secret@bucket/other: no.", "archive an address no."),
        ("/srv/data/downloads/x cannot be written", "the server's folder cannot be written"),
        ("'/etc/ssl/private/key.pem' is not readable", "'a file of the server' is not readable"),
        ("no file (/home/me/secret.json)", "no file (a file of the server)"),
        ("~/private/archive is gone", "a file of the server is gone"),
        ("ask http://10.0.0.1:8786/status for more", "ask an address for more"),
        ("ask /api/v1/catalog/dates for them", "ask /api/v1/catalog/dates for them"),
        ("values in m3/m3 or km/h/day stay", "values in m3/m3 or km/h/day stay"),
        ("2023-06-01/2023-06-30 is a period", "2023-06-01/2023-06-30 is a period"),
        ("line\nbreak\x00 and \u202eturned", "line break and turned"),
    ],
)
def test_sentences_say_no_address_and_no_path(sentence, told):
    assert clean(sentence, SECRETS) == told


@settings(max_examples=50)
@given(st.text(max_size=100), st.sampled_from(sorted(SECRETS)), st.text(max_size=700))
def test_no_secret_is_ever_told(before, secret, after):
    said = clean(f"{before} {secret} {after}", SECRETS)
    assert secret not in said
    assert len(said) <= 600


def test_secrets_of_a_server_are_all_that_it_is_told(tmp_path):
    told_at_start = Settings(
        {"a": "relative/archive", "b": "s3://bucket/b", "c": "bare"},
        catalog="https://user:key@stac.example/v1",
        scheduler="tls://10.0.0.1:8786",
        model="/srv/models/best",
        data=tmp_path / "data",
    )
    found = secrets_of(told_at_start)
    every = [*told_at_start.archives.values(), told_at_start.catalog, told_at_start.scheduler]
    every += [told_at_start.model, f"{told_at_start.data}/jobs/x", f"{tmp_path.cwd()}/bare"]
    told = clean(", ".join(every), found)
    assert told == ("a, b, bare, the catalogue, the cluster, the model, the server's folder, c")


def test_every_known_error_has_a_kind_and_an_unknown_one_is_internal(caplog):
    assert kind_of(RequestError("x")).status == 422
    assert kind_of(ArchiveError("x")).status == 503
    assert kind_of(ZeroDivisionError()).status == 500
    assert b"divided" not in problem(ZeroDivisionError("divided by secret")).body
    assert "divided by secret" in caplog.text


def test_tiles_that_nobody_waits_for_are_not_drawn(folder, tmp_path, monkeypatch):
    drawn, first, go_on = [], threading.Event(), threading.Event()

    def draw(dataset, variable, date, x, y, z, **_):
        drawn.append(x)
        first.set()
        assert go_on.wait(10)
        return b"tile"

    monkeypatch.setattr("gssm.web.routes_tiles.render_tile", draw)
    app = app_of(folder, tmp_path, tile_threads=1, burst=1000)
    tile = f"{DEMO}/tiles/soil_moisture/latest/5/{{}}/10.png"
    with serving(app) as served:
        waiting = threading.Thread(target=served.ask, args=("GET", tile.format(1)))
        waiting.start()
        assert first.wait(10)
        for column in range(2, 6):
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                target = tile.format(column)
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                wait_for(lambda n=column: app.state.context.lanes.tiles._taken == n)
        time.sleep(0.2)  # the server hears that they hung up
        go_on.set()
        waiting.join()
        assert served.ask("GET", tile.format(9)).body == b"tile"
    assert drawn == [1, 9]


def test_an_error_of_a_prediction_names_it(client, monkeypatch):
    settings = client.app.state.context.settings
    name = "0123456789abcdef"

    def fail(*_):
        raise ArchiveError(f"archive {settings.data.absolute()}/jobs/{name}/archive: no disk.")

    monkeypatch.setattr(client.app.state.context.datasets, "get", fail)
    answer = client.get(f"{PREFIX}/datasets/{name}")
    assert answer.json()["detail"] == f"archive {name}: no disk."
