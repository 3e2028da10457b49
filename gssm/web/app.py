"""The server as one ASGI application; two of them can live in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gssm.web import downloads, routes_datasets, routes_jobs, routes_queries, routes_tiles
from gssm.web.context import Context
from gssm.web.datasets import Datasets
from gssm.web.headers import HeadersMiddleware, JsonMiddleware
from gssm.web.jobs import Jobs
from gssm.web.lanes import Lanes
from gssm.web.limits import LimitsMiddleware, networks_of
from gssm.web.problems import ProblemsMiddleware, add_handlers, secrets_of
from gssm.web.routes_static import static_routes
from gssm.web.routes_tiles import TileCache
from gssm.web.routing import CHECKED, PREFIX
from gssm.web.schemas import Problem
from gssm.web.settings import Settings

DESCRIPTION = """\
Maps, dates, series, statistics, downloads and predictions of surface soil moisture at 10 m.

Times are ISO 8601 in UTC; longitudes and latitudes are degrees (WGS 84), boxes
`west,south,east,north`. A date is one pass of Sentinel-1, and its id `YYYYMMDDTHHMMSSZ`; a day,
`YYYY-MM-DD`, stands for all its passes, the last on top. A number that is not there is null.

Errors are `application/problem+json` (RFC 9457): `detail` is one sentence that says what to do. A
query parameter that is not listed is refused. How much may be asked at once stands at `/api/v1`.
"""
TAGS = [
    {"name": "server", "description": "The server itself."},
    {"name": "datasets", "description": "What there is, where and when."},
    {"name": "tiles", "description": "Maps."},
    {"name": "values", "description": "Points, series, statistics, downloads."},
    {"name": "catalog", "description": "Dates that could be predicted."},
    {"name": "jobs", "description": "Predictions on request."},
]


def create_app(settings: Settings) -> FastAPI:
    """Return the server of some archives.

    Parameters
    ----------
    settings
        What it is told.

    Returns
    -------
    fastapi.FastAPI
        Its lifespan starts and stops what it runs besides answering.

    Raises
    ------
    ArchiveError
        An archive cannot be opened.
    RequestError
        The settings cannot serve.
    """
    networks_of(settings.trusted_proxies)
    archives = Datasets(settings.archives, settings.refresh_seconds)
    for name in settings.archives:
        archives.get(name)
    context = Context(settings, archives, Lanes.of(settings.limits), Jobs(settings, archives))

    app = FastAPI(
        title=settings.public.title,
        summary="Surface soil moisture at 10 m",
        description=DESCRIPTION,
        version=version("gssm"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        openapi_tags=TAGS,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.context = context
    app.state.secrets = secrets_of(settings)
    app.state.tiles = TileCache(settings.limits.tile_cache_bytes)
    for router in (routes_tiles.router, routes_datasets.router, routes_queries.router):
        app.include_router(router)
    app.include_router(routes_jobs.build_router(), dependencies=CHECKED)
    app.router.routes.extend(static_routes())
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    add_handlers(app)
    _add_middlewares(app, settings)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    shared: Context = app.state.context
    downloads.clear(shared.settings.data, shared.settings.limits)
    shared.jobs.start()
    try:
        yield
    finally:
        await asyncio.to_thread(shared.jobs.stop)
        shared.lanes.close()


def _add_middlewares(app: FastAPI, settings: Settings) -> None:
    """Add what every request passes; the last one added is the first to see it."""
    app.add_middleware(JsonMiddleware)
    app.add_middleware(
        LimitsMiddleware,
        limits=settings.limits,
        trusted_proxies=settings.trusted_proxies,
        hosts=settings.hosts,
    )
    app.add_middleware(ProblemsMiddleware)
    app.add_middleware(HeadersMiddleware)


def _description(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, made once, with the schema of problems."""
    if not app.openapi_schema:
        found = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        own = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= own.pop("$defs", {})
        schemas["Problem"] = own
        app.openapi_schema = found
    return app.openapi_schema
