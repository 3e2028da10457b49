"""Endpoint of the dates that could be predicted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from gssm.errors import RequestError
from gssm.request import Bbox
from gssm.web.asking import period_of
from gssm.web.catalog import Date, box_around
from gssm.web.context import Shared
from gssm.web.problems import responses
from gssm.web.queries import iso
from gssm.web.routes_datasets import place_of
from gssm.web.routing import BOX_TEXT, CHECKED, PREFIX, json_response
from gssm.web.schemas import Latitude, Longitude
from gssm.web.schemas_jobs import CatalogDate, CatalogDates

router = APIRouter(prefix=f"{PREFIX}/catalog", dependencies=CHECKED, tags=["catalog"])


@router.get(
    "/dates",
    response_model=CatalogDates,
    responses=responses(502),
    summary="Dates that could be predicted",
)
async def dates(
    context: Shared,
    datetime: Annotated[
        str,
        Query(
            description="`start/end`, a day, a month, a year or a time.",
            max_length=64,
            examples=["2023-06-01/2023-06-30"],
        ),
    ],
    bbox: Annotated[str | None, BOX_TEXT] = None,
    lon: Annotated[Longitude | None, Query(description="Longitude in degrees.")] = None,
    lat: Annotated[Latitude | None, Query(description="Latitude in degrees.")] = None,
) -> Response:
    """List the passes of Sentinel-1 that the catalogue has over a box or a point, in order of time.

    Each with the time of its nearest images of Sentinel-2 and Landsat. Without Sentinel-2 within
    the window no map can be made, which `reason` says. What the catalogue said is kept for some
    minutes.
    """
    period = period_of(datetime, context.settings.limits.catalog_days)
    box = box_asked(bbox, lon, lat)

    def ask() -> bytes:
        found = context.jobs.catalog.dates(box, period)
        return CatalogDates(dates=[date_answer(date) for date in found]).model_dump_json().encode()

    return json_response(await context.lanes.catalog.run(ask))


def box_asked(bbox: str | None, lon: float | None, lat: float | None) -> Bbox:
    """Return the box that is asked for, or one around the point."""
    place = place_of(bbox, lon, lat)
    if place is None:
        raise RequestError("no place is given; give bbox, or lon and lat, in degrees.")
    west, south, *rest = place
    return box_around(west, south) if not rest else (west, south, rest[0], rest[1])


def date_answer(date: Date) -> CatalogDate:
    """Return a date as the API says it."""
    return CatalogDate(
        id=date.id,
        time=iso(date.time),
        relative_orbit=date.relative_orbit,
        orbit_state=date.orbit_state,
        platform=date.platform,
        s2_time=None if date.s2_time is None else iso(date.s2_time),
        s2_age=date.s2_age,
        landsat_time=None if date.landsat_time is None else iso(date.landsat_time),
        landsat_age=date.landsat_age,
        reason=date.reason,
    )
