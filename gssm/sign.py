"""Signed addresses: some stores answer only to a short-lived token in the URL.

Signing happens when a file is opened, never when a graph is built, so that a token
cannot expire on its way to a worker; a token is renewed well before it ends.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs, urlsplit, urlunsplit

from gssm.addresses import objection_to_opening, reached
from gssm.network import NetworkError, fetch_json, note, refuse_silent

# Renewed this long before its end: a file stays open for 5 minutes (`gssm.opened`), and
# one read of it may take minutes with its retries. Public tokens last 45 minutes and more.
MARGIN_SECONDS = 600.0


@dataclass(frozen=True)
class Token:
    """A query string that opens a container, and when it ends (seconds since 1970)."""

    query: str
    expires: float


def _container(href: str) -> str:
    """Address at which Planetary Computer gives the token of a file's container."""
    from planetary_computer.settings import Settings

    parts = urlsplit(href)
    account = (parts.hostname or "").partition(".")[0]
    container = parts.path.lstrip("/").partition("/")[0]
    return f"{Settings.get().sas_url}/{account}/{container}"


# Host suffix -> the address at which a token for a file is to be had.
SIGNERS: dict[str, Callable[[str], str]] = {".blob.core.windows.net": _container}
UNSIGNED = ("ai4edatasetspublicassets.blob.core.windows.net",)  # public, without tokens

_tokens: dict[str, Token] = {}
_lock = threading.Lock()


def signed(href: str) -> str:
    """Return the address to open now: signed where its host asks for it.

    Raises
    ------
    gssm.network.NetworkError
        The address is of a kind that an item must not point to, or no token is to be had.
    """
    reason = objection_to_opening(href)
    if reason:
        raise NetworkError("address", reason)
    source = _token_source(href)
    if source is None:
        return href
    parts = urlsplit(href)
    return urlunsplit(parts._replace(query=_token(source).query))


def expires(href: str) -> float:
    """Return when the signature of an address ends, seconds since 1970; infinity without one."""
    source = _token_source(href)
    if source is None:
        return expiry_of(href)
    token = _tokens.get(source)
    return token.expires if token else -math.inf


def renew(href: str) -> None:
    """Forget the token of an address: the next signature is a fresh one."""
    source = _token_source(href)
    if source is not None:
        with _lock:
            _tokens.pop(source, None)


def is_current(expiry: float) -> bool:
    """Tell whether a signature lasts long enough to begin a read."""
    return time.time() < expiry - MARGIN_SECONDS


def expiry_of(url: str) -> float:
    """Read the end of a signature from its URL (``se=``, as shared access signatures have it)."""
    stated = parse_qs(urlsplit(url).query).get("se", [""])[0]
    return _moment(stated) if stated else math.inf


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return math.inf


def _token_source(href: str) -> str | None:
    host = urlsplit(href).hostname or "" if href.startswith("http") else ""
    if host in UNSIGNED:
        return None
    signer = next((s for suffix, s in SIGNERS.items() if host.endswith(suffix)), None)
    return (signer(href) or None) if signer else None


def _token(source: str) -> Token:
    with _lock:  # one thread asks, the others wait for its answer
        found = _tokens.get(source)
        if found is None or not is_current(found.expires):
            refuse_silent(source)
            try:
                found = _tokens[source] = _fetched(source)
            except NetworkError as error:
                note(source, error)
                raise
            note(source, None)
        return found


def _fetched(source: str) -> Token:
    from planetary_computer.settings import Settings

    key = Settings.get().subscription_key
    headers = {"Ocp-Apim-Subscription-Key": key} if key else None
    record = fetch_json(source, reached(), headers=headers)
    query = str(record.get("token") or "")
    if not query:
        raise NetworkError("forbidden")
    stated = str(record.get("msft:expiry") or "")
    return Token(query, min(_moment(stated), expiry_of(f"?{query}")))
