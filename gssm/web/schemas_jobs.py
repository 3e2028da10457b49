"""What the API takes and gives of predictions, as its description shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from gssm.web.schemas import EXAMPLE_FIELD, Answer, Box, Geometry, Link, Question, Time

DATE_ID = r"^\d{8}T\d{6}Z$"
EXAMPLES: list[Any] = [
    {"bbox": [4.5, 51.406, 4.51, 51.41], "date": "20230603T173210Z"},
    {"geometry": EXAMPLE_FIELD, "date": "20230603T173210Z", "title": "my field"},
]


class CatalogDate(Answer):
    """A pass of Sentinel-1 over a place that the catalogue lists, with its nearest partners."""

    id: str = Field(pattern=DATE_ID, examples=["20230603T173210Z"])
    time: Time
    relative_orbit: int | None
    orbit_state: str | None = Field(examples=["ascending"])
    platform: str | None = Field(examples=["sentinel-1a"])
    s2_time: Time | None = Field(description="Of the nearest image of Sentinel-2.")
    s2_age: float | None = Field(description="Days from the radar to it, negative before.")
    landsat_time: Time | None = Field(description="Of the nearest image of Landsat.")
    landsat_age: float | None = Field(description="Days from the radar to it, negative before.")
    reason: str = Field(description="Why no map can be made; mostly empty.")


class CatalogDates(Answer):
    """Dates in order."""

    dates: list[CatalogDate]


class JobQuestion(Question):
    """A place, as a box or as polygons, and a date."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"examples": EXAMPLES},
    )
    bbox: Box | None = Field(None, description="West, south, east, north in degrees.")
    geometry: Geometry | None = None
    date: str = Field(max_length=32, description="Id of one of the dates of the catalogue.")
    title: str | None = Field(None, max_length=120, description="Everybody can read it.")


class JobAnswer(Answer):
    """A prediction."""

    id: str = Field(examples=["9b6e69bfb76dbb49"])
    title: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created: Time
    started: Time | None
    ended: Time | None
    date: str = Field(description="Id of the date of the catalogue.", pattern=DATE_ID)
    bbox: Box = Field(description="Of the place: west, south, east, north in degrees.")
    chunks_done: int = Field(ge=0)
    chunks_total: int = Field(description="0 until it is planned.", ge=0)
    message: str = Field(description="What there is to say of the state; mostly empty.")
    dataset: str | None = Field(description="Id of the result, when it is done.")
    links: list[Link]


class JobAnswers(Answer):
    """Predictions, the newest first."""

    jobs: list[JobAnswer]
