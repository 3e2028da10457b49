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


def signed(href: str) -> str:
    """Return the address to open now: signed where its host asks for it."""
    host = urlparse(href).hostname or ""
    signer = next((s for suffix, s in SIGNERS.items() if host.endswith(suffix)), None)
    return signer(href) if signer else href
