"""Pages of a STAC API, one at a time: none twice, none from another host, none without end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from pystac_client.stac_api_io import StacApiIO

from gssm.addresses import Network
from gssm.network import fetch_json

MOST_PAGES = 2000  # of 500 items
# Pages in a row that bring nothing new. Servers repeat items at page borders, and some give
# empty pages in between.
MOST_BARREN = 3

DEFAULT_PORTS = {"http": 80, "https": 443}


class PagingError(Exception):
    """A server whose pages do not end, or lead elsewhere; the sentence says which."""


class Pages(StacApiIO):
    """Requests of pystac-client, with our retries, timeouts and paging.

    Parameters
    ----------
    networks
        Networks that requests may go to.
    attempts
        How often a request is tried at most.
    """

    def __init__(self, networks: frozenset[Network], attempts: int) -> None:
        super().__init__()
        self.networks, self.attempts = networks, attempts

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Ask; see `gssm.network.fetch_json`."""
        return json.dumps(self._ask(href, method, headers, parameters))

    def _ask(
        self,
        href: str,
        method: str | None,
        headers: Mapping[str, str] | None,
        parameters: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        verb = (method or "GET").upper()
        sent: dict[str, Any] = {"body" if verb == "POST" else "params": parameters}
        options: dict[str, Any] = {"method": verb, "headers": headers, **sent}
        return fetch_json(href, self.networks, attempts=self.attempts, **options)

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the answers to a search or a listing, page by page.

        Raises
        ------
        PagingError
            The next page is one that was asked for already, several pages in a row bring
            nothing new, the next one is at another host, or there are too many.
        """
        first, asked, known, barren = url, set[bytes](), set[str](), 0
        headers: Mapping[str, str] | None = None
        sent, verb = dict(parameters or {}), (method or "GET").upper()
        for _ in range(MOST_PAGES):
            key = _digest(verb, url, sent)
            if key in asked:
                raise PagingError("its next page is one that it gave before")
            asked.add(key)
            page = self._ask(url, verb, headers, sent)
            news = _names(page) - known
            known |= news
            barren = 0 if news else barren + 1
            if barren > MOST_BARREN:
                raise PagingError(f"{barren} pages in a row brought nothing new")
            if news:
                yield page
            link = _next(page)
            if link is None:
                return
            url = urljoin(url, str(link.get("href") or ""))
            if _host(url) != _host(first):
                raise PagingError(f"its next page is at another host, {urlsplit(url).netloc}")
            verb, headers = str(link.get("method") or "GET").upper(), link.get("headers")
            if verb not in ("GET", "POST"):
                raise PagingError(f"its next page is asked for by {verb[:20]}, no GET or POST")
            body = dict(link.get("body") or {}) if verb == "POST" else {}
            sent = {**(parameters or {}), **body} if link.get("merge") else body
        raise PagingError(f"it has more than {MOST_PAGES} pages")


def _next(page: Mapping[str, Any]) -> Mapping[str, Any] | None:
    links = page.get("links") or ()
    return next((i for i in links if isinstance(i, dict) and i.get("rel") == "next"), None)


def _names(page: Mapping[str, Any]) -> set[str]:
    listed = page.get("features") or page.get("collections") or ()
    return {f"{i.get('collection')}/{i.get('id')}" for i in listed if isinstance(i, dict)}


def _host(url: str) -> tuple[str, int]:
    """Host and port; the ports of http and https count as one, as behind a proxy."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    return (parts.hostname or "").lower(), 443 if port == 80 else port


def _digest(*parts: Any) -> bytes:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()
