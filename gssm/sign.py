"""Signed addresses: some stores answer only to a short-lived token in the URL.

Signing happens when a file is opened, never when a graph is built, so that a token
cannot expire on its way to a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlparse


def _planetary_computer(href: str) -> str:
    import planetary_computer

    return str(planetary_computer.sign(href))


SIGNERS: dict[str, Callable[[str], str]] = {".blob.core.windows.net": _planetary_computer}


# What a catalogue may point to. GDAL would also follow virtual files and archives
# (vrt://, /vsizip/ and more), by which a foreign item could read anything.
SCHEMES = ("", "file", "http", "https", "s3", "gs", "az")


def signed(href: str) -> str:
    """Return the address to open now: signed where its host asks for it.

    Raises
    ------
    OSError
        The address is of a kind that an item must not point to.
    """
    address = urlparse(href)
    if address.scheme not in SCHEMES or href.startswith("/vsi"):
        raise OSError(f"an address such as {href[:40]!r} is not opened")
    host = address.hostname or ""
    signer = next((s for suffix, s in SIGNERS.items() if host.endswith(suffix)), None)
    return signer(href) if signer else href
