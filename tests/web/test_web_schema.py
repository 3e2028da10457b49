"""Requests that schemathesis makes of the description: no 5xx, and answers as described."""

import contextlib
import re
from collections import Counter
from dataclasses import replace

import pystac
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.python.asgi import shutdown_lifespans
from starlette.testclient import TestClient

from gssm.simulate import simulate_items
from gssm.web.app import create_app
from gssm.web.jobs import Jobs
from gssm.web.routing import PREFIX
from web_apps import LOOSE, settings_of
from web_archives import MIDDLE, SQUARE, lonlat, row_of, small_archive
from web_jobs import Work, no_cluster

LON, LAT = (round(float(value), 5) for value in lonlat(SQUARE, 4100, 4100))
BOX = [LON, round(LAT - 0.002, 5), round(LON + 0.002, 5), LAT]
RING = [[LON, LAT], [LON + 0.002, LAT], [LON, LAT - 0.002], [LON, LAT]]
FIELD = {"type": "Polygon", "coordinates": [RING]}
DATE, DAY = "20240101T060000Z", "2024-01-01"
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# Values that this server knows, so that not all answers are that there is no such thing.
KNOWN = {
    "dataset": "demo",
    "date": DAY,
    "variable": "soil_moisture",
    "lon": LON,
    "lat": LAT,
    "bbox": ",".join(map(str, BOX)),
    "datetime": "2024-01",
    "format": "png",
    "z": 13,
    "x": 4177,
    "y": "2750",
}
BODIES = {
    "series": {"geometry": FIELD},
    "statistics": {"bbox": BOX, "date": DATE},
    "jobs": {"bbox": BOX, "date": "20240101T173210Z"},
}
HARD = {"max_examples": 6, "derandomize": True, "database": None, "deadline": None}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Server of a small archive and a catalogue without pixels, whose jobs are done at once."""
    folder = tmp_path_factory.mktemp("web_schema")
    small_archive(folder / "demo", [row_of(0, coverage=MIDDLE[:1])])
    items = simulate_items(bbox=tuple(BOX), start="2024-01-01", days=12)
    (folder / "catalogue").mkdir()
    pystac.ItemCollection(list(items)).save_object(str(folder / "catalogue" / "items.json"))
    told = settings_of(
        folder,
        {"demo": folder / "demo"},
        catalog=str(folder / "catalogue"),
        limits=replace(LOOSE, jobs_per_client=1000, jobs_queued=1000),
    )
    app = create_app(told)
    shared = app.state.context
    jobs = Jobs(told, shared.datasets, workers=no_cluster(), work=Work(is_free=True))
    app.state.context = replace(shared, jobs=jobs)
    yield app
    shutdown_lifespans()


@pytest.fixture(scope="module")
def operations(app):
    load_all_checks()
    described = schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", app)
    return [one.ok() for one in described.get_all_operations()]


def known_of(operation, where):
    """Known values of the parameters of an operation; of a download its format is another."""
    names = {parameter.name for parameter in where}
    found = {name: value for name, value in KNOWN.items() if name in names}
    if "tiles" not in operation.path:
        found.pop("format", None)
    if "datetime" in found:  # of a download only one of them
        found.pop("date", None)
    return found


def asked_of(operation, mode, *, with_known):
    if not with_known:
        return operation.as_strategy(mode)
    fixed = {"path_parameters": known_of(operation, operation.path_parameters)}
    if mode is GenerationMode.POSITIVE:
        fixed["query"] = known_of(operation, operation.query)
    body = BODIES.get(operation.path.rsplit("/", 1)[-1]) if operation.method == "post" else None
    if mode is GenerationMode.POSITIVE and body is not None:
        fixed |= {"body": body, "media_type": "application/json"}
    return operation.as_strategy(mode, **{name: value for name, value in fixed.items() if value})


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize("with_known", [False, True], ids=["any", "known"])
def test_no_request_breaks_the_server_and_every_answer_is_as_described(
    operations, mode, with_known
):
    statuses = Counter()
    for operation in operations:

        @settings(**HARD, suppress_health_check=list(HealthCheck))
        @given(case=asked_of(operation, mode, with_known=with_known))
        def ask(case):
            answer = case.call_and_validate(checks=[CHECKS.get_one(name) for name in CHECKED])
            statuses[answer.status_code] += 1

        with contextlib.suppress(Unsatisfiable):  # nothing that could be wrong
            ask()
    assert sum(statuses.values()) > 50
    assert max(statuses) < 500
    if with_known and mode is GenerationMode.POSITIVE:
        assert statuses[200] > sum(statuses.values()) / 3, statuses
    if mode is GenerationMode.NEGATIVE:
        assert statuses[422] > 30, statuses


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "CONNECT"])
def test_a_method_that_is_not_described_is_refused_everywhere(app, operations, method):
    client = TestClient(app)
    described = {(one.path, one.method.upper()) for one in operations}
    for path in sorted({one.path for one in operations}):
        if (path, method) in described:
            continue
        address = re.sub(r"\{(\w+)\}", lambda name: str(KNOWN.get(name[1], "x")), path)
        answer = client.request(method, address)
        assert answer.status_code == 405, (method, address)
        assert answer.headers["allow"]
        assert answer.headers["content-type"] == "application/problem+json"
