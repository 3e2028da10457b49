"""What a client reads when something goes wrong: one table, RFC 9457, no secrets.

The sentence is that of gssm's own error. An address of an archive becomes the dataset's id;
any other address or path of the server is left out.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gssm import errors
from gssm.archive.storage import parse_place
from gssm.web.datasets import UnknownDatasetError, UnknownDateError, UnknownVersionError
from gssm.web.lanes import BusyError, CrowdedError, GivenUpError, LateError
from gssm.web.settings import DATASET_ID, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


logger = logging.getLogger("gssm.web")

MEDIA_TYPE = "application/problem+json"
# Characters of a sentence, and fields that are named.
LONGEST, MOST_FIELDS = 600, 10


class TooMuchError(errors.RequestError):
    """More than one request may ask: area, period, pixels or vertices."""


class NotFoundError(errors.GssmError, LookupError):
    """No such variable, date, colormap or zoom."""


class TooManyRequestsError(errors.GssmError):
    """A client asks more often than it may."""

    def __init__(self, sentence: str, seconds: int = 1) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class LongAddressError(errors.GssmError):
    """The address of a request is too long."""


class LargeBodyError(errors.GssmError):
    """The body of a request is too large."""


class SlowBodyError(errors.GssmError):
    """The body of a request does not come."""


class OtherHostError(errors.GssmError):
    """A request for another server."""


class MalformedError(errors.GssmError):
    """A request that is not as HTTP has it."""


class MediaTypeError(errors.GssmError):
    """The body of a request is of another type than is read here."""


@dataclass(frozen=True)
class Kind:
    """A kind of problem: HTTP status, name, title, and whether it may pass."""

    status: int
    name: str
    title: str
    retry_after: int | None = None
    is_logged: bool = False


REQUEST = Kind(422, "invalid-request", "The request cannot be served")
MALFORMED = Kind(400, "malformed", "The request is malformed")
INTERNAL = Kind(500, "internal", "Internal error", is_logged=True)
# The first class that an error is an instance of counts.
TABLE: tuple[tuple[type[BaseException], Kind], ...] = (
    (UnknownDatasetError, Kind(404, "unknown-dataset", "There is no such dataset")),
    (UnknownDateError, Kind(404, "unknown-date", "There is no such date")),
    (UnknownVersionError, Kind(404, "unknown-version", "There is no such version")),
    (NotFoundError, Kind(404, "not-found", "There is no such thing")),
    (TooMuchError, Kind(422, "too-much", "The request asks for too much")),
    (TooManyRequestsError, Kind(429, "too-many-requests", "Too many requests", 1)),
    (CrowdedError, Kind(429, "too-many-requests", "Too many requests", 5)),
    (LongAddressError, Kind(414, "address-too-long", "The address is too long")),
    (LargeBodyError, Kind(413, "body-too-large", "The body is too large")),
    (SlowBodyError, Kind(408, "body-too-slow", "The body does not come")),
    (MediaTypeError, Kind(415, "media-type", "The body is of another type")),
    (MalformedError, MALFORMED),
    (OtherHostError, Kind(421, "other-host", "The request is for another server")),
    (BusyError, Kind(503, "busy", "The server is busy", 5)),
    (LateError, Kind(504, "timeout", "The answer takes too long", 30)),
    (GivenUpError, Kind(504, "timeout", "The answer takes too long", 30)),
    (errors.RequestError, REQUEST),
    (errors.EmptySearchError, Kind(404, "nothing-there", "There is nothing")),
    (errors.CubeError, Kind(404, "nothing-there", "There is nothing")),
    (
        errors.CatalogUnreachableError,
        Kind(502, "catalog", "The catalogue does not answer", 30, is_logged=True),
    ),
    (
        errors.ArchiveError,
        Kind(503, "archive", "The archive cannot be read", 30, is_logged=True),
    ),
    (errors.ReadError, Kind(503, "read", "The data cannot be read", 30, is_logged=True)),
    (errors.StoreWriteError, Kind(503, "disk", "The server cannot write", 30, is_logged=True)),
)
# Of the router, which has no error of gssm: by status.
ROUTER: dict[int, tuple[Kind, str]] = {
    400: (MALFORMED, "the body cannot be read; send JSON that is not nested too deeply."),
    404: (
        Kind(404, "not-found", "There is no such thing"),
        "there is nothing at this address; /api/v1/openapi.json describes what there is.",
    ),
    405: (
        Kind(405, "method", "The method is not possible here"),
        "this address does not take the method {method}; it takes {allowed}.",
    ),
}


def kind_of(error: BaseException) -> Kind:
    """Return the kind of problem that an error is; `INTERNAL` for one that is not foreseen."""
    return next((kind for known, kind in TABLE if isinstance(error, known)), INTERNAL)


def response_of(
    kind: Kind,
    detail: str,
    fields: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response that says a problem."""
    content: dict[str, Any] = {
        "type": f"urn:gssm:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if fields:
        content["errors"] = list(fields)
    found = {"Cache-Control": "no-store", **(headers or {})}
    if kind.retry_after is not None:
        found.setdefault("Retry-After", str(kind.retry_after))
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, kind.status, found, MEDIA_TYPE)


def problem(error: BaseException, secrets: Mapping[str, str] | None = None) -> Response:
    """Return the response for an error.

    Parameters
    ----------
    error
        Of gssm; any other is logged, and the client reads no more than the number in the log.
    secrets
        What may not be told, and what is told in its place (see `secrets_of`).
    """
    kind = kind_of(error)
    if kind is INTERNAL:
        number = uuid.uuid4().hex[:12]
        logger.error("internal error %s", number, exc_info=error)
        return response_of(kind, f"internal error {number}; the log of the server explains it.")
    if kind.is_logged:
        logger.warning("%s: %s", kind.name, error)
    headers = {}
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.seconds)
    return response_of(kind, clean(str(error), secrets or {}), headers=headers)


# An address of anything, and a path of at least two parts.
ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
# What the API itself is asked for is no secret.
PATH = re.compile(r"(?!/api/v1/)(?<![\w.~/-])~?(?:/[^\s/'\",;:()<>]+){2,}/?")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def clean(sentence: str, secrets: Mapping[str, str]) -> str:
    """Return a sentence without addresses and paths of the server."""
    sentence = sentence[: 4 * LONGEST]
    for secret in sorted(secrets, key=len, reverse=True):
        # What lies in an archive is the archive's, too.
        within = re.escape(secret.rstrip("/")) + r"(?:/[^\s'\",;:()<>]*)?(?![\w-])"
        sentence = re.sub(within, secrets[secret].replace("\\", r"\\"), sentence)
    sentence = PATH.sub("a file of the server", ADDRESS.sub("an address", sentence))
    sentence = " ".join(CONTROL.sub(" ", sentence).split())
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 1]}…"


def secrets_of(settings: Settings) -> dict[str, str]:
    """Return every address and path that a server is told, and what is told in its place."""
    found = {str(settings.data): "the server's folder"}
    found[str(settings.data.absolute())] = "the server's folder"
    for text, told in (
        (settings.catalog, "the catalogue"),
        (settings.scheduler, "the cluster"),
        (settings.model, "the model"),
    ):
        if text:
            found[str(text)] = told
    for name, url in settings.archives.items():
        found |= {str(url): name, parse_place(url).url: name}
    # A bare name is no secret, and could be a part of any word.
    return {text: told for text, told in found.items() if "/" in text.strip("/")}


def add_handlers(app: FastAPI) -> None:
    """Let every error of an app become a problem."""
    app.add_exception_handler(errors.GssmError, _on_error)
    app.add_exception_handler(GivenUpError, _on_error)
    app.add_exception_handler(TimeoutError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_router)


async def _on_error(request: Request, error: Exception) -> Response:
    secrets: dict[str, str] = request.app.state.secrets
    name = str(request.path_params.get("dataset", ""))
    if DATASET_ID.fullmatch(name):  # that of a prediction lies in the server's folder
        told = "the server's folder"
        jobs = {f"{text}/jobs/{name}": name for text, says in secrets.items() if says == told}
        secrets = secrets | jobs
    return problem(error, secrets)


async def _on_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = ROUTER.get(error.status_code)
    if known is None:
        title = HTTPStatus(error.status_code).phrase
        kind = Kind(error.status_code, f"http-{error.status_code}", title)
        return response_of(kind, f"{title}.")
    kind, detail = known
    headers = dict(error.headers or {})
    takes = {method.strip() for method in headers.pop("Allow", "").split(",")} - {""}
    if takes:  # what gives an answer gives its headers, too (`gssm.web.headers`)
        takes |= {"HEAD"} if "GET" in takes and request.method != "HEAD" else set()
        headers["Allow"] = ", ".join(sorted(takes))
    method = request.method[:16]
    sentence = detail.format(method=method, allowed=headers.get("Allow", ""))
    return response_of(kind, sentence, headers=headers)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = list(error.errors())
    fields = [{"field": _field(one), "detail": clean(str(one["msg"]), {})} for one in found]
    if any(one["type"] == "json_invalid" for one in found):
        what = (found[0].get("ctx") or {}).get("error", "it ends too early")
        return response_of(MALFORMED, f"the body is no JSON ({what}); send valid JSON.")
    first = fields[0]
    more = f" (and {len(fields) - 1} more, see errors)" if len(fields) > 1 else ""
    sentence = clean(f"{first['field']}: {first['detail']}{more}.", {})
    return response_of(REQUEST, sentence, fields[:MOST_FIELDS])


def _field(one: Mapping[str, Any]) -> str:
    return clean(".".join(str(part)[:40] for part in one["loc"]), {})


class ProblemsMiddleware:
    """Makes a problem of what no handler foresaw, and says no more than its number.

    Parameters
    ----------
    app
        The app below.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        started = False

        async def watching(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watching)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise  # the server cuts the connection, so that nobody takes a part for the whole
            await problem(error)(scope, receive, send)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how the description of an endpoint shows its problems."""
    titles = titles_of(kind for _, kind in TABLE) | {405: "The method is not possible here"}
    return {
        status: {
            "description": titles.get(status, HTTPStatus(status).phrase),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, *ALWAYS})
    }


# What any request can meet.
ALWAYS = (400, 408, 413, 414, 415, 422, 429, 500, 503, 504)


def titles_of(kinds: Iterable[Kind]) -> dict[int, str]:
    """Titles of kinds by status, joined where several share one."""
    found: dict[int, list[str]] = {}
    for kind in (*kinds, INTERNAL, REQUEST, MALFORMED):
        titles = found.setdefault(kind.status, [])
        if kind.title not in titles:
            titles.append(kind.title)
    return {status: "; ".join(titles) for status, titles in found.items()}
