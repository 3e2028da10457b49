"""What all endpoints of the API have: where they lie, and that they refuse unknown parameters."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from starlette.responses import Response

from gssm.errors import RequestError
from gssm.web.problems import NotFoundError

PREFIX = "/api/v1"
DatasetId = Annotated[
    str, Path(description="Id of a dataset.", max_length=64, examples=["flanders"])
]
DateText = Annotated[
    str,
    Query(
        description="Id of a date, a day (`YYYY-MM-DD`: its passes, the last on top), or `latest`.",
        max_length=32,
        examples=["latest"],
    ),
]
PeriodText = Annotated[
    str | None,
    Query(
        description="`start/end`, a day, a month, a year, a time, or the id of a date.",
        max_length=64,
        examples=["2023-06-01/2023-06-30"],
    ),
]
BOX_TEXT = Query(
    description="`west,south,east,north` in degrees; across the 180th meridian west > east.",
    max_length=200,
    examples=["4.50,51.406,4.522,51.414"],
)
JSON_CACHE = "no-cache"


def json_response(content: bytes, cache: str = JSON_CACHE) -> Response:
    """Return JSON that is ready to be sent."""
    return Response(content, media_type="application/json", headers={"Cache-Control": cache})


def known_parameters(request: Request) -> frozenset[str]:
    """Names of the query parameters of the endpoint of a request, as its description has them."""
    app = request.app
    if not hasattr(app.state, "parameters"):
        app.state.parameters = {
            (path, method.upper()): frozenset(
                one["name"] for one in said.get("parameters", ()) if one["in"] == "query"
            )
            for path, methods in app.openapi()["paths"].items()
            for method, said in methods.items()
        }
    found: dict[tuple[str, str], frozenset[str]] = app.state.parameters
    return found.get((request.scope["route"].path_format, request.method), frozenset())


async def only_known(request: Request) -> None:
    """Refuse query parameters that an endpoint does not have, or that come twice."""
    asked = [name for name, _ in request.query_params.multi_items()]
    if not asked:
        return
    known = known_parameters(request)
    for name in asked:
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise RequestError(f"the parameter {name[:40]!r} is not known here; {takes}.")
        if asked.count(name) > 1:
            raise RequestError(f"the parameter {name!r} comes more than once; give it once.")


CHECKED = [Depends(only_known)]


def refuse_text(name: str, found: Any) -> NotFoundError:
    """Return the error of a name that an address has, and nothing else."""
    return NotFoundError(f"there is no {name} {str(found)[:40]!r} here.")
