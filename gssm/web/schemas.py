"""What the API takes and gives, as its description shows it.

Times are ISO 8601 in UTC, ending in Z; a number that is not there is null, never NaN.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Box = Annotated[list[float], Field(min_length=4, max_length=4)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Answer(BaseModel):
    """Base of what the server says."""

    model_config = ConfigDict(frozen=True)


class Question(BaseModel):
    """Base of what a client says in a body: a field that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FieldProblem(Answer):
    """What is wrong with one field of a request."""

    field: str = Field(examples=["query.lon"])
    detail: str = Field(examples=["Input should be less than or equal to 180"])


class Problem(Answer):
    """An error after RFC 9457."""

    type: str = Field(examples=["urn:gssm:problem:not-found"])
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="One sentence: what, why, and what to do.",
        examples=["there is no dataset 'flandres'; this server has 'flanders'."],
    )
    errors: list[FieldProblem] | None = Field(None, description="One for each field.")


class Link(Answer):
    """A link."""

    rel: str = Field(examples=["datasets"])
    href: str = Field(examples=["/api/v1/datasets"])


class LimitNumbers(Answer):
    """What one client may ask."""

    box_km2: float
    job_km2: float
    download_pixels: int
    csv_rows: int
    series_days: int
    download_days: int
    catalog_days: int
    vertices: int
    body_bytes: int
    url_bytes: int
    jobs_per_client: int
    requests_per_second: float
    burst: int


class Landing(Answer):
    """The server: its name, its version, where things are and how much may be asked."""

    title: str
    version: str = Field(description="Of gssm.", examples=["0.1.0"])
    contact: str | None
    links: list[Link]
    limits: LimitNumbers


class Health(Answer):
    """The server answers."""

    status: Literal["ok"]


class DatasetSummary(Answer):
    """A dataset: an archive, or the result of a prediction."""

    id: str = Field(examples=["flanders"])
    title: str
    kind: Literal["archive", "job"]
    bbox: Box | None = Field(description="West, south, east, north in degrees.")
    start: Time | None
    end: Time | None
    dates: int = Field(description="Number of dates.", ge=0)
    squares: list[str] = Field(description="Squares of MGRS.", examples=[["31UES"]])


class DatasetList(Answer):
    """All datasets."""

    datasets: list[DatasetSummary]


class VariableInfo(Answer):
    """A variable that tiles show."""

    name: str = Field(examples=["soil_moisture"])
    title: str
    units: str = Field(examples=["m3 m-3"])
    range: list[float] = Field(min_length=2, max_length=2, examples=[[0.0, 0.5]])
    colormap: str = Field(description="The one that is taken if none is asked for.")


class DatasetDetail(DatasetSummary):
    """A dataset with all that a map of it needs."""

    version: str = Field(description="Snapshot of the archive; names tiles that never change.")
    variables: list[VariableInfo]
    minzoom: int
    maxzoom: int
    footprint: dict[str, Any] | None = Field(description="GeoJSON MultiPolygon of its squares.")
    citation: str
    licence: str
    limitations: list[str]
    true_color: bool = Field(description="There are tiles of the variable true_color.")
    catalog: bool = Field(description="Predictions can be asked for.")


class DateEntry(Answer):
    """A date: one pass of Sentinel-1."""

    id: str = Field(pattern=r"^\d{8}T\d{6}Z$", examples=["20231114T221320Z"])
    time: Time
    relative_orbit: int | None
    orbit_state: str | None = Field(examples=["ascending"])
    platform: str | None = Field(examples=["sentinel-1a"])
    provisional: bool = Field(description="A better optical image may still come.")
    s2_age: float | None = Field(description="Mean days from the radar to Sentinel-2.")
    landsat_age: float | None = Field(description="Mean days from the radar to Landsat.")


class DateList(Answer):
    """Dates in order."""

    dates: list[DateEntry]


class SetFlag(Answer):
    """A quality flag that is set."""

    name: str = Field(examples=["cloud_or_shadow"])
    description: str


class Point(Answer):
    """One pixel on one date."""

    lon: float
    lat: float
    date: str = Field(description="Id of the pass.", examples=["20231114T221320Z"])
    time: Time
    soil_moisture: float | None
    soil_moisture_uncertainty: float | None
    interval: list[float] | None = Field(
        description="Bounds of the 90 % prediction interval, clipped at 0.",
    )
    quality_flag: int
    flags: list[SetFlag]
    s2_age: float | None
    landsat_age: float | None
    relative_orbit: int | None
    orbit_state: str | None
    platform: str | None
    square: str
    units: str


class PointRow(Answer):
    """One date of a point."""

    date: str | None = Field(description="Id of the pass.")
    time: Time
    soil_moisture: float | None
    soil_moisture_uncertainty: float | None
    quality_flag: int
    quality_flag_meanings: str
    s2_age: float | None
    landsat_age: float | None
    relative_orbit: int | None
    orbit_state: str | None
    platform: str | None
    square: str


class PointSeries(Answer):
    """All dates of a point."""

    dataset: str
    version: str
    lon: float
    lat: float
    units: str
    rows: list[PointRow]


class AreaRow(Answer):
    """One date of an area."""

    date: str | None = Field(description="Id of the pass.")
    time: Time
    soil_moisture: float | None
    soil_moisture_std: float | None
    soil_moisture_uncertainty: float | None
    pixels: int
    computed: int
    valid: int
    share_valid: float
    s2_age: float | None
    landsat_age: float | None
    flags: dict[str, float] = Field(description="Share of the computed pixels, by flag.")
    relative_orbit: int | None
    orbit_state: str | None
    platform: str | None


class AreaSeries(Answer):
    """All dates of an area."""

    dataset: str
    version: str
    units: str
    rows: list[AreaRow]


Position = Annotated[list[float], Field(min_length=2, max_length=3)]
Ring = Annotated[list[Position], Field(min_length=4)]


class PolygonGeometry(Question):
    """A polygon of GeoJSON, in degrees, longitude first."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: Literal["Polygon"]
    coordinates: Annotated[list[Ring], Field(min_length=1)] = Field(
        examples=[[[[4.5, 51.4], [4.52, 51.4], [4.52, 51.41], [4.5, 51.4]]]]
    )


class MultiPolygonGeometry(Question):
    """Polygons of GeoJSON, in degrees, longitude first."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[Annotated[list[Ring], Field(min_length=1)]], Field(min_length=1)]


Geometry = Annotated[PolygonGeometry | MultiPolygonGeometry, Field(discriminator="type")]
EXAMPLE_FIELD: dict[str, Any] = {
    "type": "Polygon",
    "coordinates": [[[4.5, 51.406], [4.51, 51.406], [4.51, 51.41], [4.5, 51.41], [4.5, 51.406]]],
}


class SeriesQuestion(Question):
    """An area, and a period."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"geometry": EXAMPLE_FIELD, "datetime": "2023-11"}]},
    )
    geometry: Geometry
    datetime: str | None = Field(None, max_length=64, description="As of the query parameter.")
    format: Literal["json", "csv"] = "json"


class StatisticsQuestion(Question):
    """An area, as polygons or as a box, and a date."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"bbox": [4.5, 51.406, 4.51, 51.41], "date": "20231114T221320Z"}]
        },
    )
    geometry: Geometry | None = None
    bbox: Box | None = Field(None, description="West, south, east, north in degrees.")
    date: str = Field(max_length=32, description="Id of a pass, or a day (`YYYY-MM-DD`).")


class Histogram(Answer):
    """Numbers of pixels between edges, the last edge included."""

    edges: list[float]
    counts: list[int]


class Statistics(Answer):
    """Soil moisture of the pixels of an area on one date."""

    dataset: str
    version: str
    date: str
    units: str
    pixels: int = Field(description="Of the area.")
    computed: int = Field(description="Of them, those that were ever looked at.")
    valid: int = Field(description="Of them, those with a value.")
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    median: float | None
    percentiles: dict[str, float | None] = Field(
        examples=[{"p5": 0.1, "p25": 0.2, "p50": 0.25, "p75": 0.3, "p95": 0.4}]
    )
    histogram: Histogram
    mean_uncertainty: float | None
    flags: dict[str, float] = Field(description="Share of the computed pixels, by flag.")


class Colormap(Answer):
    """Colours of numbers, from the lowest to the highest."""

    name: str = Field(examples=["gssm"])
    title: str
    type: Literal["classes", "ramp"]
    colors: list[str] = Field(examples=[["#8f7131", "#264cb5"]])


class ColormapList(Answer):
    """Colormaps by name."""

    default: str
    colormaps: list[Colormap]


class LegendEntry(Answer):
    """One colour of a map."""

    color: str = Field(examples=["#8f7131"])
    label: str = Field(examples=["0.00 – 0.05"])
    from_: float | None = Field(None, alias="from")
    to: float | None = None


class Legend(Answer):
    """What the colours of a map mean."""

    title: str
    units: str
    colormap: str = Field(description="Empty for an image.", examples=["gssm"])
    type: Literal["classes", "ramp", "flags", "image"]
    entries: list[LegendEntry]


class TileJson(Answer):
    """TileJSON 3.0 of one variable and date."""

    tilejson: Literal["3.0.0"]
    name: str
    tiles: list[str]
    bounds: Box | None
    minzoom: int
    maxzoom: int
    attribution: str
    version: str = "1.0.0"
