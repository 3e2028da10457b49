"""Endpoints of predictions on request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from shapely.geometry.base import BaseGeometry
from starlette.responses import Response

from gssm.archive.area import in_degrees
from gssm.errors import RequestError
from gssm.request import check_bbox
from gssm.web import routes_catalog
from gssm.web.asking import box_km2, box_of, check_area, polygons_of
from gssm.web.context import Client, Context, Shared
from gssm.web.jobs_records import Record
from gssm.web.jobs_work import Asked
from gssm.web.problems import CONTROL, NotFoundError, responses
from gssm.web.routing import CHECKED, PREFIX
from gssm.web.schemas import Link
from gssm.web.schemas_jobs import JobAnswer, JobAnswers, JobQuestion

JobId = Annotated[
    str, Path(description="Id of a job.", max_length=64, examples=["9b6e69bfb76dbb49"])
]
router = APIRouter(prefix=f"{PREFIX}/jobs", dependencies=CHECKED, tags=["jobs"])
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `progress`, each with the job as JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def build_router() -> APIRouter:
    """Return the routes of predictions, and of the dates that could be predicted."""
    found = APIRouter()
    found.include_router(routes_catalog.router)
    found.include_router(router)
    return found


@router.post(
    "",
    status_code=202,
    response_model=JobAnswer,
    responses=responses(404, 502),
    summary="Ask for a prediction",
)
async def ask(context: Shared, client: Client, question: JobQuestion) -> Response:
    """Map one date of the catalogue over a place; `Location` names the job.

    The model, the catalogue and all that belongs to it are the server's. The result has whole
    chunks of 2.5 km around the place, and is a dataset when the job is done. Everybody can see
    the job. Few may wait, and few of one client be under way (429).
    """
    if (question.bbox is None) == (question.geometry is None):
        raise RequestError("give either bbox or geometry, and not both.")

    def find() -> Asked:
        area = _area(context, question)
        box = box_of(question.bbox) if question.bbox is not None else check_bbox(area.bounds)
        date = context.jobs.catalog.find(box, question.date)
        if date.reason:
            raise RequestError(f"no map can be made of {date.id}: {date.reason}; choose another.")
        title = " ".join(CONTROL.sub(" ", question.title or "").split())
        return Asked(area, box, date, title)

    asked = await context.lanes.catalog.run(find)
    # Apart from the search, which may take too long: what is refused must not begin later.
    record = await context.lanes.reads.run(context.jobs.submit, asked, client)
    return _json(answer(record), 202, Location=f"{PREFIX}/jobs/{record.id}")


@router.get("", response_model=JobAnswers, responses=responses(), summary="All predictions")
async def jobs(context: Shared) -> Response:
    """Those that wait, run or have ended, the newest first; old ones are removed by themselves."""
    return _json(JobAnswers(jobs=[answer(record) for record in context.jobs.list()]))


@router.get("/{job}", response_model=JobAnswer, responses=responses(404), summary="One prediction")
async def job_detail(context: Shared, job: JobId) -> Response:
    """How far it is."""
    return _json(answer(context.jobs.get(job)))


async def _watched(context: Shared, client: Client, job: JobId) -> str:
    """Return the id of a job that can be watched, before the first line is sent."""
    context.jobs.refuse_watching(job, client)
    return job


@router.get(
    "/{job}/events",
    response_class=EventSourceResponse,
    responses={**EVENTS, **responses(404)},
    summary="Progress of a prediction",
)
async def events(
    context: Shared, client: Client, job: Annotated[str, Depends(_watched)]
) -> AsyncIterator[ServerSentEvent]:
    """Send an event `progress` whenever the job has changed, until it has ended.

    At most five a second; where nothing happens, a comment every 15 seconds. The first is the
    job as it is, so that a client that was cut off misses nothing.
    """
    async for record in context.jobs.watch(job, client):
        yield ServerSentEvent(data=answer(record), event="progress")


@router.delete(
    "/{job}",
    status_code=202,
    response_model=JobAnswer,
    responses={204: {"description": "It had ended, and is removed."}, **responses(404)},
    summary="Cancel or remove a prediction",
)
async def remove(context: Shared, job: JobId) -> Response:
    """Cancel one that waits or runs (202), or remove one that has ended, with its dataset (204).

    As there are no accounts, everybody may do so with every prediction.
    """
    record = await context.lanes.reads.run(context.jobs.remove, job)
    return Response(status_code=204) if record is None else _json(answer(record), 202)


def answer(record: Record) -> JobAnswer:
    """Return a job as the API says it."""
    here = f"{PREFIX}/jobs/{record.id}"
    links = {"self": here, "events": f"{here}/events"}
    dataset = record.id if record.state == "done" else None
    if dataset is not None:
        links["dataset"] = f"{PREFIX}/datasets/{dataset}"
    said = asdict(record) | {"bbox": list(record.bbox)}
    found = [Link(rel=rel, href=href) for rel, href in links.items()]
    return JobAnswer(**said, dataset=dataset, links=found)


def _area(context: Context, question: JobQuestion) -> BaseGeometry:
    """Shape of what is asked for, within the limits."""
    limits = context.settings.limits
    if context.settings.limits.jobs_running < 1:
        raise NotFoundError("this server makes no predictions; it shows what its archives have.")
    if question.bbox is not None:
        box = box_of(question.bbox)
        check_area(box_km2(box), limits.job_km2)
        return in_degrees(box)
    assert question.geometry is not None
    area: BaseGeometry = polygons_of(
        question.geometry.model_dump(), most_vertices=limits.vertices, most_km2=limits.job_km2
    )
    # A comb has little area and touches many chunks.
    check_area(box_km2(check_bbox(area.bounds)), limits.job_km2)
    return area


def _json(content: BaseModel, status: int = 200, **headers: str) -> Response:
    body = content.model_dump_json().encode()
    sent = {"Cache-Control": "no-store", **headers}
    return Response(body, status, sent, "application/json")
