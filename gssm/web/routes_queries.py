"""Endpoints that read values: a point, series, statistics, downloads."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from gssm.archive.area import in_degrees
from gssm.errors import RequestError
from gssm.web import downloads, queries
from gssm.web.asking import (
    box_km2,
    box_of,
    check_area,
    date_of,
    period_of,
    polygons_of,
)
from gssm.web.context import Client, Context, Shared
from gssm.web.datasets import Dataset
from gssm.web.headers import HEAD
from gssm.web.lanes import Watch
from gssm.web.problems import responses
from gssm.web.routing import (
    BOX_TEXT,
    CHECKED,
    PREFIX,
    DatasetId,
    DateText,
    PeriodText,
    json_response,
)
from gssm.web.schemas import (
    AreaSeries,
    Latitude,
    Longitude,
    Point,
    PointSeries,
    SeriesQuestion,
    Statistics,
    StatisticsQuestion,
)
from gssm.web.statistics import statistics

Lon = Annotated[Longitude, Query(description="Longitude in degrees (WGS 84).", examples=[4.5026])]
Lat = Annotated[Latitude, Query(description="Latitude in degrees (WGS 84).", examples=[51.41])]
Form = Annotated[
    Literal["json", "csv"], Query(description="`csv` is the table of gssm.write_series.")
]
CSV = {"text/csv": {"schema": {"type": "string"}}}
router = APIRouter(prefix=f"{PREFIX}/datasets/{{dataset}}", dependencies=CHECKED, tags=["values"])


@router.get(
    "/point",
    response_model=Point,
    responses=responses(404),
    summary="One pixel on one date",
)
async def point(
    context: Shared, dataset: DatasetId, lon: Lon, lat: Lat, date: DateText = "latest"
) -> Response:
    """Soil moisture, its 90 % prediction interval and flags of the pixel that holds a place.

    Of a day with several passes the last that shows the pixel.
    """
    name = date_of(date)

    def read() -> bytes:
        return queries.to_json(queries.point(context.datasets.get(dataset), lon, lat, name))

    return json_response(await context.lanes.reads.run(read))


@router.get(
    "/series",
    response_model=PointSeries,
    responses={200: {"content": CSV}, **responses(404)},
    summary="All dates of a point",
)
async def point_series(
    context: Shared,
    request: Request,
    dataset: DatasetId,
    lon: Lon,
    lat: Lat,
    datetime: PeriodText = None,
    format: Form = "json",
) -> Response:
    """Give a row for each date on which the pixel was computed, with a value or without.

    The numbers are those of `gssm.point_series`.
    """
    most = context.settings.limits.series_days
    period = None if datetime is None else period_of(datetime, most)

    def read(watch: Watch) -> Response:
        opened = context.datasets.get(dataset)
        table = queries.point_rows(watch, opened, lon, lat, period, most)
        if format == "csv":
            return _table(opened, table)
        return json_response(queries.to_json(queries.point_record(opened, lon, lat, table)))

    return await context.lanes.reads.run_watched(request, read)


@router.post(
    "/series",
    response_model=AreaSeries,
    responses={200: {"content": CSV}, **responses(404)},
    summary="All dates of an area",
)
async def area_series(
    context: Shared, request: Request, dataset: DatasetId, question: SeriesQuestion
) -> Response:
    """Mean soil moisture over the pixels whose centres lie in an area, a row for each pass.

    The numbers are those of `gssm.polygon_series`.
    """
    limits = context.settings.limits
    period = None if question.datetime is None else period_of(question.datetime, limits.series_days)

    def read(watch: Watch) -> Response:
        area = _area(context, question.geometry)
        opened = context.datasets.get(dataset)
        table = queries.area_rows(watch, opened, area, period, limits.series_days)
        if question.format == "csv":
            return _table(opened, table)
        return json_response(queries.to_json(queries.area_record(opened, area, table)))

    return await context.lanes.areas.run_watched(request, read)


@router.post(
    "/statistics",
    response_model=Statistics,
    responses=responses(404),
    summary="Statistics of an area on one date",
)
async def area_statistics(
    context: Shared, request: Request, dataset: DatasetId, question: StatisticsQuestion
) -> Response:
    """Mean, spread, percentiles, histogram and flags of the pixels whose centres lie in an area.

    Of a day with several passes each pixel counts once, with the last that shows it.
    """
    if (question.geometry is None) == (question.bbox is None):
        raise RequestError("give either geometry or bbox, and not both.")
    date = date_of(question.date)

    def read(watch: Watch) -> bytes:
        area = _area(context, question.geometry or question.bbox)
        return queries.to_json(statistics(watch, context.datasets.get(dataset), area, date))

    return json_response(await context.lanes.areas.run_watched(request, read))


def _area(context: Context, asked: Any) -> Any:
    """Shape of what is asked for, within the limits."""
    limits = context.settings.limits
    if isinstance(asked, list):
        box = box_of(asked)
        check_area(box_km2(box), limits.box_km2)
        return in_degrees(box)
    return polygons_of(asked.model_dump(), most_vertices=limits.vertices, most_km2=limits.box_km2)


def _table(dataset: Dataset, table: Any) -> Response:
    """Return a series as a file, as `gssm.archive.series.write_series` writes it."""
    text = table.to_csv(date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.6g")
    name = f'attachment; filename="gssm_{dataset.id}_series.csv"'
    return Response(
        text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name}
    )


FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for kind in downloads.MEDIA_TYPES.values()
        },
    }
}


@router.get(
    "/download",
    response_class=Response,
    responses={**FILES, **responses(404)},
    summary="A box as a file",
)
async def download(
    context: Shared,
    client: Client,
    request: Request,
    dataset: DatasetId,
    bbox: Annotated[str, BOX_TEXT],
    format: Annotated[
        Literal["cog", "netcdf", "zarr", "csv"],
        Query(description="`cog` of one date and variable is a .tif, of more a .zip."),
    ],
    datetime: PeriodText = None,
    date: Annotated[
        str | None,
        Query(
            description="Instead of `datetime`: the id of a date, a day, or `latest`.",
            max_length=32,
            examples=["latest"],
        ),
    ] = None,
    variable: Annotated[
        str | None,
        Query(description="Names with commas between; by default all.", max_length=200),
    ] = None,
) -> Response:
    """Pixels of a box as a file with coordinates, citation and licence, as `gssm.export` writes.

    Pixels are those of the archive, in its UTM zone; of a box over several zones in the one
    of most squares, each the nearest of the archive. A Zarr store comes as a .zip.
    """
    limits, data = context.settings.limits, context.settings.data
    wanted = downloads.download_of(
        box_of(bbox), datetime, limits, date=date, format=format, variables=variable
    )

    def write(watch: Watch) -> downloads.Made:
        downloads.clear(data, limits)
        return downloads.make(watch, context.datasets.get(dataset), wanted, limits, data)

    if request.scope.get(HEAD):  # nothing is written for who only asks what there would be
        opened = await context.lanes.reads.run(context.datasets.get, dataset)
        name, kind = await context.lanes.reads.run(downloads.look, opened, wanted, limits)
        response = Response(media_type=kind, headers={"Cache-Control": "no-store"})
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        del response.headers["Content-Length"]
        return response

    async with contextlib.AsyncExitStack() as stack:
        lane = context.lanes.downloads
        stack.enter_context(lane.place(client, limits.downloads_per_client))
        made = await lane.run_watched(request, write, held=True)
        stack.callback(made.discard)
        return Sending(made, limits.download_seconds, stack.pop_all())
    raise AssertionError  # the stack lets every error pass


class Sending(FileResponse):
    """A file that is sent once, whole, and then deleted.

    Parameters
    ----------
    made
        What to send.
    seconds
        Until it must be sent.
    stack
        What to close then.
    """

    def __init__(
        self, made: downloads.Made, seconds: float, stack: contextlib.AsyncExitStack
    ) -> None:
        headers = {"Cache-Control": "no-store"}
        super().__init__(
            made.file, headers=headers, media_type=made.media_type, filename=made.file.name
        )
        self._seconds, self._stack = seconds, stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        # The file is made anew for each request: a part of one is no part of another.
        kept = [pair for pair in scope["headers"] if pair[0] not in (b"range", b"if-range")]
        async with self._stack, asyncio.timeout(self._seconds):
            del self.headers["accept-ranges"]
            await super().__call__({**scope, "headers": kept}, receive, send)
