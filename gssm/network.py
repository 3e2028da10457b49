"""What goes wrong between here and a server: told apart, retried within bounds, named.

One table, `FAULTS`, says for every kind of failure what it means, what helps, and how
often it is tried. Reading of pixels (`gssm.reader`), signing and searching use it alike.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gssm.addresses import Network, Origin, objection
from gssm.deadline import cut_after, go_on, pools_with_deadline, sleep

if TYPE_CHECKING:
    import requests

# Seconds to connect and between two pieces of an answer; for a whole answer however
# slowly it trickles; and the longest wait that a server may ask for.
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
ANSWER_SECONDS = 120.0
LONGEST_WAIT_SECONDS = 60.0
BACKOFF_SECONDS = 0.5
LARGEST_ANSWER = 256_000_000  # bytes; 500 items of the largest kind are a tenth of it
MOST_REDIRECTS = 5
# A host that gave no answer this often in a row is left alone for so many seconds.
MOST_SILENT = 3
REST_SECONDS = 60.0
PER_HOST = 8  # reads at a time: the limit of browsers, and below every provider's


@dataclass(frozen=True)
class Fault:
    """A kind of failure: what it means, what helps, how often it is tried in all."""

    cause: str
    fix: str
    attempts: int


_LATER = "try again later"
_ASK = "check that the address may be read, or search again for fresh addresses"

FAULTS: dict[str, Fault] = {
    "unauthorized": Fault(
        "HTTP 401: the server wants a login", "set the provider's credentials", 2
    ),
    "forbidden": Fault("HTTP 403: the server refuses access", _ASK, 2),
    "missing": Fault(
        "HTTP {status}: the server has no such file", "use another catalogue, or do without it", 1
    ),
    "throttled": Fault("HTTP 429: too many requests", "use fewer workers, or try again later", 4),
    "server": Fault("the server failed with HTTP {status}", _LATER, 4),
    "refused": Fault("HTTP {status}: the server refuses the request", _ASK, 1),
    "timeout": Fault("the server did not answer in time", "check the network, or try later", 3),
    "silent": Fault(
        "the server did not answer in time again and again, so it is left alone for a while",
        "check the network, or try later",
        1,
    ),
    "connection": Fault("the connection failed or was cut", "check the address and the network", 4),
    "html": Fault(
        "a web page came with HTTP 200 instead of data",
        "check for a login page or proxy in between",
        3,
    ),
    "truncated": Fault("the answer was cut short", _LATER, 4),
    "too_large": Fault("the answer is larger than any that gssm takes", "check the address", 1),
    "redirect": Fault("the server redirects in circles or changes the request", _ASK, 1),
    "address": Fault(
        "{detail}, so gssm does not open it", "remove the item, or serve it elsewhere", 1
    ),
    "damaged": Fault(
        "{detail}; the server answers, so the file is damaged, or cut short",
        "try again, or do without it",
        3,
    ),
}


class NetworkError(OSError):
    """A request failed, of a kind in `FAULTS`.

    Parameters
    ----------
    kind
        Key of `FAULTS`.
    detail
        What fills ``{status}`` or ``{detail}``.
    wait
        Seconds that the server asks to wait (Retry-After).
    """

    def __init__(self, kind: str, detail: str = "", wait: float | None = None) -> None:
        super().__init__(kind)
        self.kind, self.detail, self.wait = kind, detail, wait
        self.is_given_up = False  # was retried already, or is not worth it
        self.address = ""  # of the file, where it is not the one that was to be read

    @property
    def fault(self) -> Fault:
        """The row of the table."""
        return FAULTS[self.kind]

    @property
    def fix(self) -> str:
        """What helps."""
        return self.fault.fix

    def __str__(self) -> str:
        said = self.fault.cause.format(status=self.detail, detail=self.detail)
        if self.asks_too_long:
            said += f", and asks to wait {self.wait:.0f} seconds"
        return said

    @property
    def asks_too_long(self) -> bool:
        """Tell whether the server asks for a longer wait than it is given."""
        return self.wait is not None and self.wait > LONGEST_WAIT_SECONDS

    def is_final(self, attempt: int) -> bool:
        """Tell whether there is no attempt after this one (they count from 0)."""
        return self.is_given_up or self.asks_too_long or attempt + 1 >= self.fault.attempts


_STATUSES = {401: "unauthorized", 403: "forbidden", 404: "missing", 410: "missing"}


def of_status(status: int, headers: Mapping[str, str] | None = None) -> NetworkError:
    """Return the failure that an HTTP status of 300 or more stands for."""
    wait = _wait(headers or {})
    if status == 429:
        return NetworkError("throttled", wait=wait)
    if status >= 500 or status == 408:
        return NetworkError("server", str(status), wait)
    default = "redirect" if status < 400 else "refused"
    return NetworkError(_STATUSES.get(status, default), str(status))


def _wait(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: seconds, or a date."""
    from email.utils import parsedate_to_datetime

    stated = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", stated):
        return float(stated)
    try:
        return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def pause(error: NetworkError, attempt: int) -> None:
    """Wait before the next attempt: as long as the server asks, or twice as long each time."""
    backoff = BACKOFF_SECONDS * 2.0**attempt * (0.5 + random.random())  # not all at once
    sleep(max(error.wait or 0.0, backoff))


_slots: dict[str, threading.BoundedSemaphore] = {}
_slots_lock = threading.Lock()
_held = threading.local()


@contextmanager
def slot(href: str) -> Iterator[None]:
    """Hold one of the places for reads from the host of an address; a thread has one at most.

    If threads that have a place waited for a second one, all of them would wait for ever.
    Files of this machine need none.
    """
    go_on()
    if not is_remote(href) or getattr(_held, "place", False):
        yield
        return
    with _slots_lock:
        places = _slots.setdefault(host_of(href), threading.BoundedSemaphore(PER_HOST))
    with places:
        _held.place = True
        try:
            go_on()  # the wait may have been long
            yield
        finally:
            _held.place = False


def host_of(href: str) -> str:
    """Return host and port as an address writes them; nothing where it is no address."""
    try:
        return urlsplit(href).netloc
    except ValueError:
        return ""  # opening it will tell


_silent: dict[str, tuple[int, float]] = {}  # by host: how often in a row, and until when


def refuse_silent(href: str) -> None:
    """Fail at once where a host has given no answer again and again, a moment ago.

    After a rest one read at a time finds out whether it answers again.

    Raises
    ------
    NetworkError
        It has. Without this, each of a map's files would wait for its own time-outs.
    """
    go_on()
    host = host_of(href)
    count, until = _silent.get(host, (0, 0.0))
    if count < MOST_SILENT or getattr(_held, "asks", "") == host:
        return
    if time.monotonic() < until:
        raise NetworkError("silent")
    _silent[host] = (count, time.monotonic() + REST_SECONDS)
    _held.asks = host


def note(href: str, error: Exception | None) -> None:
    """Remember whether a host answered, when a read is over."""
    if error is not None:
        go_on()  # also without a word about what was not read
    host = host_of(href)
    kind = error.kind if isinstance(error, NetworkError) else ""
    if kind in ("timeout", "connection"):
        _silent[host] = (_silent.get(host, (0, 0.0))[0] + 1, time.monotonic() + REST_SECONDS)
    elif kind != "silent":  # which is no answer, nor a question
        _silent.pop(host, None)
    if kind != "silent":
        _held.asks = ""


def is_remote(href: str) -> bool:
    """Tell an address on the network from a path."""
    return href.startswith(("http://", "https://", "s3://", "gs://", "az://"))


def redacted(text: str) -> str:
    """Take query strings and logins out of the addresses of a text: they hold signatures."""
    return re.sub(r"(?<=://)[^/\s'\"]*@", "", re.sub(r"\?[^\s'\"\)]*", "", text))


def of_gdal(message: str) -> NetworkError | None:
    """Return the failure that GDAL's words stand for, where they name one."""
    found = re.search(r"(?:HTTP|[Rr]esponse).{0,300}?[: ]([45]\d\d)\b", message)
    if found:
        return of_status(int(found[1]))
    words = {"NoSuchKey": 404, "key does not exist": 404, "AccessDenied": 403}
    words |= {"Access Denied": 403, "InvalidCredentials": 401, "timed out": 0, "Timeout": 0}
    status = next((status for word, status in words.items() if word in message), None)
    if status is None:
        return None
    return of_status(status) if status else NetworkError("timeout")


def session(networks: Iterable[Network]) -> requests.Session:
    """Return an HTTP session that opens, also after redirects, hosts of these networks only."""
    import requests
    from requests.adapters import HTTPAdapter

    origin = Origin(frozenset(networks))
    pools = pools_with_deadline(ANSWER_SECONDS)

    class Guard(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            manager = super().proxy_manager_for(*args, **options)
            manager.pool_classes_by_scheme = pools
            return manager

        def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
            reason = objection(str(request.url), origin, lookup=True)
            if reason:
                raise NetworkError("address", reason)
            response = super().send(request, *args, **options)
            if response.is_redirect:  # requests would read all that comes with it
                response.close()
                response._content, response._content_consumed = b"", True
            return response

    opened = requests.Session()
    opened.mount("http://", Guard())
    opened.mount("https://", Guard())
    opened.max_redirects = MOST_REDIRECTS
    return opened


def fetch_json(
    url: str,
    networks: Iterable[Network],
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    body: Any = None,
    attempts: int = 4,
) -> dict[str, Any]:
    """Ask a server for a JSON object, with bounded retries; a POST is a question too.

    Raises
    ------
    NetworkError
        It failed for good, or as often as its kind is tried.
    """
    with session(networks) as opened:
        attempt = 0
        while True:
            try:
                options = {"headers": headers, "params": params, "json": body}
                return _json(_ask(opened, method, url, None, **options)[1])
            except NetworkError as error:
                if error.is_final(attempt) or attempt + 1 >= attempts:
                    error.is_given_up = True
                    raise
                pause(error, attempt)
            attempt += 1


def fetch_bytes(url: str, networks: Iterable[Network], most: int) -> bytes:
    """Return a whole small file of a server; no retries.

    Raises
    ------
    NetworkError
        The server does not give it, gives a web page, or more bytes than `most`.
    """
    with slot(url), session(networks) as opened:
        _, content = _ask(opened, "GET", url, most + 1)
    if len(content) > most:
        raise NetworkError("too_large")
    if _WEB_PAGE.match(content):
        raise NetworkError("html")
    return content


# Of XML, which some files beside an image are, only a page's.
_WEB_PAGE = re.compile(rb"\s*(<\?xml[^>]*>\s*)?<(!doctype|html|head|body|script)\b", re.IGNORECASE)


def _json(content: bytes) -> dict[str, Any]:
    if content.lstrip()[:1] == b"<":
        raise NetworkError("html")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise NetworkError("truncated") from None
    if not isinstance(record, dict):
        raise NetworkError("html")
    return record


def _ask(
    opened: requests.Session, method: str, url: str, most: int | None, **options: Any
) -> tuple[requests.Response, bytes]:
    """Return one answer and its body, of which at most the first ``most`` bytes."""
    from requests import exceptions
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    go_on()
    timeouts = (CONNECT_SECONDS, SILENCE_SECONDS)
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        with opened.request(method, url, timeout=timeouts, stream=True, **options) as response:
            if response.status_code >= 300:
                raise of_status(response.status_code, response.headers)
            if response.request.method != method:  # a POST that was made a GET asks for all
                raise NetworkError("redirect")
            with cut_after(
                deadline - time.monotonic(), lambda: getattr(response.raw, "connected", None)
            ):
                return response, _body(response, most)
    except (exceptions.TooManyRedirects, exceptions.InvalidURL, exceptions.InvalidSchema):
        raise NetworkError("redirect") from None
    except (exceptions.Timeout, ReadTimeoutError, TimeoutError) as error:
        raise NetworkError("timeout") from error
    except (exceptions.ConnectionError, exceptions.ChunkedEncodingError) as error:
        raise NetworkError("connection") from error
    except (exceptions.RequestException, HTTPError) as error:
        raise NetworkError("truncated") from error


def _body(response: requests.Response, most: int | None) -> bytes:
    content = bytearray()
    while most is None or len(content) < most:
        piece = response.raw.read1(most or 65536, decode_content=True)
        if not piece:
            break
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise NetworkError("too_large")
    return bytes(content)


# Object stores of the large clouds: who puts a file there cannot make it a redirect.
STORES = re.compile(
    r"(.+\.blob\.core\.windows\.net|storage\.googleapis\.com"
    r"|(.+\.)?s3([.-][a-z0-9-]+)?\.amazonaws\.com)"
)
FIRST_BYTES = 1024


def landed(url: str, networks: Iterable[Network]) -> str:
    """Return where an http(s) address leads after redirects, each of which was checked.

    GDAL would follow redirects anywhere, so it is given the last address. Stores of the
    large clouds are not asked.

    Raises
    ------
    NetworkError
        The server does not give the file.
    """
    if STORES.fullmatch(urlsplit(url).hostname or ""):
        return url
    return probe(url, networks)


def probe(url: str, networks: Iterable[Network]) -> str:
    """Ask for the first bytes of a file; return the address that gave them.

    Raises
    ------
    NetworkError
        The server does not give them, or gives a web page.
    """
    headers = {"Range": f"bytes=0-{FIRST_BYTES - 1}", "Accept-Encoding": "identity"}
    with session(networks) as opened:
        response, content = _ask(opened, "GET", url, 4 * FIRST_BYTES, headers=headers)
    if _WEB_PAGE.match(content):
        raise NetworkError("html")
    if not content:
        raise NetworkError("truncated")
    return str(response.url)
