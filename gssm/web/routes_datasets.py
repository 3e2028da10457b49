"""Endpoints that say what there is: the server, datasets, dates, colours."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gssm.archive import encoding
from gssm.archive.export_csv import MOST_ROWS
from gssm.errors import RequestError
from gssm.web import answers, colors
from gssm.web.asking import box_of, date_of, period_of
from gssm.web.context import Shared
from gssm.web.datasets import dates_of, find_date
from gssm.web.problems import responses
from gssm.web.queries import to_json
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
    ColormapList,
    DatasetDetail,
    DatasetList,
    DateList,
    Health,
    Landing,
    Latitude,
    Legend,
    LimitNumbers,
    Longitude,
    TileJson,
)

VariableName = Annotated[
    str,
    Query(description="What the map shows.", max_length=64, examples=["soil_moisture"]),
]
ColormapName = Annotated[
    str | None,
    Query(description="As of `/api/v1/colormaps`.", max_length=32, examples=["viridis"]),
]
ColorEnd = Annotated[
    float | None,
    Query(description="Value of the first (`min`) or last (`max`) colour.", allow_inf_nan=False),
]
router = APIRouter(prefix=PREFIX, dependencies=CHECKED)
# Everybody may keep it for an hour: it changes with the program only.
FIXED = "public, max-age=3600"


@router.get(
    "", response_model=Landing, responses=responses(), tags=["server"], summary="The server"
)
async def landing(context: Shared) -> Response:
    """Name and version of the server, links, and how much one client may ask."""
    settings = context.settings
    known = {**asdict(settings.limits), "csv_rows": MOST_ROWS}
    links = {
        "self": PREFIX,
        "service-desc": f"{PREFIX}/openapi.json",
        "datasets": f"{PREFIX}/datasets",
        "colormaps": f"{PREFIX}/colormaps",
        "jobs": f"{PREFIX}/jobs",
        "catalog": f"{PREFIX}/catalog/dates",
        "map": "/",
    }
    content = {
        "title": settings.public.title,
        "version": version("gssm"),
        "contact": settings.public.contact,
        "links": [{"rel": rel, "href": href} for rel, href in links.items()],
        "limits": {name: known[name] for name in LimitNumbers.model_fields},
    }
    return json_response(to_json(content))


@router.get(
    "/health", response_model=Health, responses=responses(), tags=["server"], summary="Health"
)
async def health() -> Response:
    """Tell that the server answers; nothing is read for it."""
    return json_response(b'{"status":"ok"}', "no-store")


@router.get(
    "/datasets",
    response_model=DatasetList,
    responses=responses(),
    tags=["datasets"],
    summary="All datasets",
)
async def datasets(context: Shared) -> Response:
    """List archives, and the results of predictions."""

    def read() -> bytes:
        found = [answers.summary(dataset) for dataset in context.datasets.list()]
        return to_json({"datasets": found})

    return json_response(await context.lanes.reads.run(read))


@router.get(
    "/datasets/{dataset}",
    response_model=DatasetDetail,
    responses=responses(404),
    tags=["datasets"],
    summary="One dataset",
)
async def dataset_detail(context: Shared, dataset: DatasetId) -> Response:
    """All that a map of a dataset needs, and how to cite it."""

    def read() -> bytes:
        found = context.datasets.get(dataset)
        return to_json(answers.detail(found, catalog=context.can_predict))

    return json_response(await context.lanes.reads.run(read))


@router.get(
    "/datasets/{dataset}/dates",
    response_model=DateList,
    responses=responses(404),
    tags=["datasets"],
    summary="Dates of a place",
)
async def dates(
    context: Shared,
    dataset: DatasetId,
    bbox: Annotated[str | None, BOX_TEXT] = None,
    lon: Annotated[Longitude | None, Query(description="Longitude in degrees.")] = None,
    lat: Annotated[Latitude | None, Query(description="Latitude in degrees.")] = None,
    datetime: PeriodText = None,
) -> Response:
    """List passes that show something of a box or of a point, or of all, in order of time."""
    place = place_of(bbox, lon, lat)
    period = None if datetime is None else period_of(datetime, 10**6)

    def read() -> bytes:
        found = dates_of(context.datasets.get(dataset), place, period)
        return to_json({"dates": [answers.date_entry(record) for record in found]})

    return json_response(await context.lanes.reads.run(read))


def place_of(bbox: str | None, lon: float | None, lat: float | None) -> Any:
    """Return the box or the point that is asked for; None for neither."""
    if bbox is not None and (lon is not None or lat is not None):
        raise RequestError("give either bbox, or lon and lat, and not both.")
    if bbox is not None:
        return box_of(bbox)
    if (lon is None) != (lat is None):
        raise RequestError("a point needs both lon and lat, in degrees.")
    return None if lon is None or lat is None else (lon, lat)


@router.get(
    "/datasets/{dataset}/tilejson.json",
    response_model=TileJson,
    responses=responses(404),
    tags=["tiles"],
    summary="TileJSON of a map",
)
async def tilejson(
    context: Shared,
    request: Request,
    dataset: DatasetId,
    variable: VariableName = "soil_moisture",
    date: DateText = "latest",
    colormap: ColormapName = None,
) -> Response:
    """Where the tiles of a variable and date are, for any web map (TileJSON 3.0)."""
    shown, chosen = colors.check_variable(variable), date_of(date)
    asked = "" if colormap is None else f"&colormap={colors.check_colormap(shown, colormap)}"
    root = str(request.scope.get("root_path", "")).rstrip("/")

    def read() -> bytes:
        found = context.datasets.get(dataset)
        if shown.name != colors.TRUE_COLOR:
            find_date(found, chosen)
        tiles = f"{root}{PREFIX}/datasets/{dataset}/tiles/{shown.name}/{chosen}"
        return to_json(
            {
                "tilejson": "3.0.0",
                "name": f"{found.title}: {shown.title}",
                "tiles": [f"{tiles}/{{z}}/{{x}}/{{y}}.png?version={found.version}{asked}"],
                "bounds": None if found.bbox is None else [round(v, 6) for v in found.bbox],
                "minzoom": found.minzoom,
                "maxzoom": found.maxzoom,
                "attribution": encoding.ACKNOWLEDGEMENT,
                "version": "1.0.0",
            }
        )

    return json_response(await context.lanes.reads.run(read))


@router.get(
    "/colormaps",
    response_model=ColormapList,
    responses=responses(),
    tags=["tiles"],
    summary="Colour maps",
)
async def colormaps(context: Shared) -> Response:
    """Colours from the lowest to the highest value, by name."""

    def read() -> bytes:
        found = {"default": colors.DEFAULT_COLORMAP, "colormaps": colors.colormaps()}
        return to_json(found)

    return json_response(await context.lanes.reads.run(read), FIXED)


@router.get(
    "/datasets/{dataset}/legend",
    response_model=Legend,
    responses=responses(404),
    tags=["tiles"],
    summary="Legend of a map",
)
async def legend(
    context: Shared,
    dataset: DatasetId,
    variable: VariableName = "soil_moisture",
    colormap: ColormapName = None,
    min: ColorEnd = None,
    max: ColorEnd = None,
) -> Response:
    """Tell what the colours of tiles with the same parameters mean."""

    def read() -> bytes:
        context.datasets.get(dataset)
        return to_json(colors.legend(variable, colormap, (min, max)))

    return json_response(await context.lanes.reads.run(read))
