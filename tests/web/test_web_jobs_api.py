import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import pystac
import pytest
from starlette.testclient import TestClient

from gssm.archive.recipe import Recipe, write_recipe
from gssm.errors import CatalogUnreachableError
from gssm.simulate import simulate_items
from gssm.web import jobs_watch
from gssm.web.app import create_app
from gssm.web.jobs import Jobs
from web_apps import LOOSE, serving, settings_of
from web_archives import small_archive
from web_jobs import DATE, Work, no_cluster, wait_for

API, BOX = "/api/v1", [3.02, 50.80, 3.05, 50.83]
BOX_TEXT = ",".join(map(str, BOX))
FIELD = {
    "type": "Polygon",
    "coordinates": [[[3.02, 50.8], [3.04, 50.8], [3.03, 50.82], [3.02, 50.8]]],
}
LIMITS = replace(LOOSE, jobs_per_client=2, jobs_queued=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of an archive, and of a catalogue without pixels that it names."""
    folder = tmp_path_factory.mktemp("jobs_api")
    items = list(simulate_items(bbox=tuple(BOX), start="2023-06-01", days=20))
    (folder / "catalogue").mkdir()
    pystac.ItemCollection(items).save_object(str(folder / "catalogue" / "items.json"))
    archive = small_archive(folder / "main")
    write_recipe(archive, Recipe(catalog=str(folder / "catalogue")))
    return folder


@contextmanager
def app_of(place, tmp_path, work, limits=LIMITS, **options):
    """App whose jobs do what `work` says."""
    told = settings_of(tmp_path, {"main": place / "main"}, limits=limits, **options)
    app = create_app(told)
    shared = app.state.context
    jobs = Jobs(told, shared.datasets, workers=no_cluster(), work=work)
    app.state.context = replace(shared, jobs=jobs)
    yield app


@contextmanager
def asking(place, tmp_path, work, **options):
    with app_of(place, tmp_path, work, **options) as app, TestClient(app) as client:
        yield client


def dates_of(client, **place):
    found = client.get(
        f"{API}/catalog/dates",
        params={"datetime": "2023-06-01/2023-06-20", **(place or {"bbox": BOX_TEXT})},
    )
    assert found.status_code == 200, found.text
    return found.json()["dates"]


def ask(client, **body):
    return client.post(f"{API}/jobs", json={"bbox": BOX, **body})


def ended(client, job):
    here = f"{API}/jobs/{job['id']}"
    return wait_for(
        lambda: (
            (found := client.get(here).json())["state"] in ("done", "failed", "cancelled") and found
        )
    )


def test_dates_of_the_catalogue(place, tmp_path):
    with asking(place, tmp_path, Work()) as client:
        dates = dates_of(client)
        assert dates == dates_of(client, bbox=BOX_TEXT)
        point = dates_of(client, lon=3.03, lat=50.81)
        assert [date["id"] for date in point] == [date["id"] for date in dates]
        assert dates_of(client, lon=13.03, lat=50.81) == []
    first = dates[0]
    assert first.keys() == {
        *("id", "time", "relative_orbit", "orbit_state", "platform", "reason"),
        *("s2_time", "s2_age", "landsat_time", "landsat_age"),
    }
    assert first["time"].replace("-", "").replace(":", "") == first["id"]
    assert [date["time"] for date in dates] == sorted(date["time"] for date in dates)
    assert any(date["s2_time"] for date in dates)
    assert any(date["landsat_time"] is None for date in dates)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 422, "datetime"),
        ("datetime=2023-06", 422, "no place is given"),
        ("datetime=2023-06&lon=3", 422, "both lon and lat"),
        ("datetime=2023-06&lon=3&lat=99", 422, "less than or equal to 90"),
        (f"datetime=2023-06&lon=3&lat=50&bbox={BOX_TEXT}", 422, "not both"),
        ("datetime=2023-06&bbox=3,50,4,51", 422, "at most 2,500 km2"),
        (f"datetime=2019/2023&bbox={BOX_TEXT}", 422, "at most 366"),
        (f"datetime=yesterday&bbox={BOX_TEXT}", 422, "is no period"),
        (f"datetime=2023-06&bbox={BOX_TEXT}&catalog=http://x.org", 422, "not known here"),
    ],
)
def test_dates_that_cannot_be_listed_are_refused(place, tmp_path, query, status, words):
    with asking(place, tmp_path, Work()) as client:
        found = client.get(f"{API}/catalog/dates?{query}")
        assert found.status_code == status
        assert words in found.json()["detail"]


def test_a_catalogue_that_does_not_answer_is_a_bad_gateway(place, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise CatalogUnreachableError("the STAC API https://secret.org/v1 did not answer.")

    monkeypatch.setattr("gssm.web.catalog.search", refuse)
    with asking(place, tmp_path, Work()) as client:
        for found in (
            client.get(f"{API}/catalog/dates?datetime=2023-06&bbox={BOX_TEXT}"),
            ask(client, date="20230603T173210Z"),
        ):
            assert found.status_code == 502
            assert found.json()["detail"] == "the STAC API an address did not answer."


def test_a_prediction_from_question_to_dataset(place, tmp_path):
    work = Work()
    with asking(place, tmp_path, work) as client:
        date = dates_of(client)[0]["id"]
        said = ask(client, date=date, title="my\u202e\nfield ")
        job = said.json()
        here = f"{API}/jobs/{job['id']}"
        assert said.status_code == 202
        assert said.headers["location"] == here
        assert (job["title"], job["date"], job["bbox"]) == ("my field", date, BOX)
        assert (job["state"], job["started"], job["dataset"]) == ("queued", None, None)
        wait_for(lambda: work.begun)
        running = client.get(here).json()
        assert (running["state"], running["chunks_done"], running["chunks_total"]) == (
            *("running", 1),
            3,
        )
        work.go.set()
        done = ended(client, job)
        assert done["state"] == "done"
        links = {link["rel"]: link["href"] for link in done["links"]}
        assert links["self"] == here
        dataset = client.get(links["dataset"]).json()
        assert (dataset["id"], dataset["kind"]) == (done["dataset"], "job")
        assert client.get(f"{API}/jobs").json() == {"jobs": [done]}
        assert [d["id"] for d in client.get(f"{API}/datasets").json()["datasets"]] == sorted(
            [done["dataset"], "main"]
        )
        assert client.delete(here).status_code == 204
        assert client.get(here).status_code == 404
        assert client.get(links["dataset"]).status_code == 404


def test_a_geometry_is_mapped_by_its_shape(place, tmp_path):
    work = Work(is_free=True)
    with asking(place, tmp_path, work) as client:
        date = dates_of(client)[0]["id"]
        job = client.post(f"{API}/jobs", json={"geometry": FIELD, "date": date}).json()
        assert job["bbox"] == [3.02, 50.8, 3.04, 50.82]
        ended(client, job)
    (order,) = work.begun
    assert json.loads(order.area)["type"] == "Polygon"


COMB = {
    "type": "MultiPolygon",
    "coordinates": [
        [[[x, 50.0], [x + 1e-4, 50.0], [x + 1e-4, 50.9], [x, 50.9], [x, 50.0]]]
        for x in (3.0, 3.5, 4.0)
    ],
}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "body.date"),
        ({"date": "20230603T173210Z"}, 422, "either bbox or geometry"),
        ({"bbox": BOX, "geometry": FIELD, "date": "20230603T173210Z"}, 422, "not both"),
        ({"bbox": BOX, "date": "20230603T000000Z"}, 404, "there is no acquisition"),
        ({"bbox": BOX, "date": "latest"}, 404, "there is no acquisition 'latest'"),
        ({"bbox": [3, 50, 4, 51], "date": "20230603T173210Z"}, 422, "at most 400 km2"),
        ({"geometry": COMB, "date": "20230603T173210Z"}, 422, "at most 400 km2"),
        ({"bbox": BOX, "date": "20230603T173210Z", "model": "/etc"}, 422, "body.model"),
        ({"bbox": BOX, "date": "20230603T173210Z", "title": "x" * 121}, 422, "body.title"),
        ({"bbox": [3, 91, 3.1, 92], "date": "20230603T173210Z"}, 422, "lies outside the world"),
        ({"bbox": [3, 89.0, 3.1, 89.1], "date": "20230603T173210Z"}, 404, "no acquisition"),
    ],
)
def test_what_cannot_be_predicted_is_refused(place, tmp_path, body, status, words):
    with asking(place, tmp_path, Work()) as client:
        found = client.post(f"{API}/jobs", json=body)
        assert found.status_code == status, found.text
        assert words in found.json()["detail"]
        assert client.get(f"{API}/jobs").json() == {"jobs": []}


def test_a_date_that_no_map_can_be_made_of_is_refused(place, tmp_path, monkeypatch):
    without = replace(DATE, reason="no Sentinel-2 within 3D")
    monkeypatch.setattr("gssm.web.catalog.Catalog.find", lambda *_: without)
    with asking(place, tmp_path, Work()) as client:
        found = ask(client, date=DATE.id)
        assert found.status_code == 422
        assert f"no map can be made of {DATE.id}: no Sentinel-2 within 3D" in found.text


def test_two_clients_share_the_queue_and_each_has_its_limit(place, tmp_path):
    work = Work()
    with (
        app_of(place, tmp_path, work) as app,
        TestClient(app, client=("10.0.0.1", 1)) as me,
    ):
        you = TestClient(app, client=("10.0.0.2", 1))
        date = dates_of(me)[0]["id"]
        mine = [ask(me, date=date).json()["id"] for _ in range(2)]
        refused = ask(me, date=date)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "2 predictions from this address" in refused.json()["detail"]
        wait_for(lambda: work.begun)
        theirs = ask(you, date=date)
        assert theirs.status_code == 202
        full = ask(you, date=date)
        assert full.status_code == 429
        assert "wait already" in full.json()["detail"]
        # There are no accounts: anybody may cancel.
        cancelled = you.delete(f"{API}/jobs/{mine[1]}")
        assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
        assert ask(me, date=date).status_code == 202
        running = me.delete(f"{API}/jobs/{mine[0]}")
        assert (running.status_code, running.json()["message"]) == (202, "it is being cancelled")
        assert ended(me, {"id": mine[0]})["state"] == "cancelled"
        work.go.set()
        assert ended(you, theirs.json())["state"] == "done"


def test_a_server_without_predictions_says_so(place, tmp_path):
    with asking(place, tmp_path, Work(), limits=replace(LIMITS, jobs_running=0)) as client:
        found = ask(client, date="20230603T173210Z")
        assert found.status_code == 404
        assert "makes no predictions" in found.json()["detail"]


def events_of(text):
    """Events of a stream as (event, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_each_change_and_end(place, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_watch, "NEWS_SECONDS", 0.01)
    work = Work()
    with asking(place, tmp_path, work) as client:
        job = ask(client, date=dates_of(client)[0]["id"]).json()
        here = f"{API}/jobs/{job['id']}"
        threading.Timer(0.3, work.go.set).start()
        said = client.get(f"{here}/events")
        assert said.headers["content-type"].startswith("text/event-stream")
        events = events_of(said.text)
        assert {name for name, _ in events} == {"progress"}
        states = [data["state"] for _, data in events]
        assert states == sorted(states, key=["queued", "running", "done"].index)
        assert events[-1][1] == client.get(here).json()
        assert events_of(client.get(f"{here}/events").text) == events[-1:]
        assert client.get(f"{API}/jobs/none/events").status_code == 404
        assert client.get(f"{here}/events?since=1").status_code == 422


def test_events_of_a_job_that_does_not_change_keep_the_line_open(place, tmp_path, monkeypatch):
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    work = Work()
    with app_of(place, tmp_path, work) as app, serving(app) as server:
        dates = server.ask("GET", f"{API}/catalog/dates?datetime=2023-06&bbox={BOX_TEXT}").json()
        body = json.dumps({"bbox": BOX, "date": dates["dates"][0]["id"]})
        headers = {"Content-Type": "application/json"}
        job = server.ask("POST", f"{API}/jobs", body, headers).json()
        threading.Timer(0.5, work.go.set).start()
        said = server.ask("GET", f"{API}/jobs/{job['id']}/events")
        assert said.status == 200
        assert b"\n: ping\n" in said.body or said.body.startswith(b": ping")
        assert b'"state":"done"' in said.body


def test_a_client_that_hangs_up_is_watched_for_no_more(place, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_watch, "NEWS_SECONDS", 0.01)
    work = Work()
    with app_of(place, tmp_path, work) as app, serving(app) as server:
        jobs = app.state.context.jobs
        dates = server.ask("GET", f"{API}/catalog/dates?datetime=2023-06&bbox={BOX_TEXT}").json()
        body = json.dumps({"bbox": BOX, "date": dates["dates"][0]["id"]})
        headers = {"Content-Type": "application/json"}
        job = server.ask("POST", f"{API}/jobs", body, headers).json()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            line = f"GET {API}/jobs/{job['id']}/events HTTP/1.1\r\nHost: x\r\n\r\n"
            connection.sendall(line.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            wait_for(lambda: jobs._watching._streams.total() == 1)
        wait_for(lambda: jobs._watching._streams.total() == 0)
        work.go.set()
