"""Small XML files beside an image, from a path or URL: read with bounds, parsed with care."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import numpy as np

from gssm.addresses import local_path, reached
from gssm.network import NetworkError, fetch_bytes, is_remote, note, refuse_silent
from gssm.sign import signed

Element = ElementTree.Element
FloatArray = np.ndarray[Any, np.dtype[np.float64]]
Parsed = TypeVar("Parsed")

# Bytes. The largest of the three, an annotation of a long data take, has five million.
LARGEST = 64_000_000


def parse_file(href: str, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Parse a file; what the parser refuses becomes an OSError that names the file."""
    name = PurePosixPath(unquote(urlparse(href).path)).name or href
    try:
        return parse(read_bytes(href))
    except ValueError as error:
        raise OSError(f"{name} {error}") from None


def read_bytes(href: str) -> bytes:
    """Read a whole small file from a path or URL.

    Raises
    ------
    OSError
        It is not there, does not answer, or is larger than any such file.
    """
    try:
        address = signed(href)
        scheme = urlparse(address).scheme
        if scheme in ("http", "https"):
            refuse_silent(href)
            content = fetch_bytes(address, reached(), LARGEST)
            note(href, None)
            return content
        content = _from_store(address) if is_remote(address) else _from_disk(local_path(address))
    except NetworkError as error:
        error.address = href  # the reader knows the kind, and not that it was this file
        raise
    except OSError as error:
        cause = error.strerror or _plain(str(error)) or type(error).__name__
        raise OSError(f"{_plain(href)} could not be read: {cause}") from error
    except ImportError as error:
        raise OSError(f"{_plain(href)} needs a package that is missing: {error}") from error
    if len(content) > LARGEST:
        raise OSError(f"{_plain(href)} has more than {LARGEST} bytes, which no annotation has")
    return content


def _plain(text: str) -> str:
    """First line, without what follows a question mark: addresses may carry a signature."""
    return re.sub(r"\?[^\s'\")]*", "", text.partition("\n")[0])


def _from_store(address: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            return bytes(file.read(LARGEST + 1))
    except (OSError, ImportError):
        raise
    except Exception as error:  # each store has errors of its own, for want of a login above all
        raise OSError(str(error)) from error


def _from_disk(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(LARGEST + 1)


def parse_root(content: bytes, tag: str) -> Element:
    """Root of a document that can refer to nothing and expand to nothing.

    Entities, by which XML reads other files or grows without bound, are declared in a
    DOCTYPE, which no product has. Only UTF-8 is read, so that it cannot hide.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not XML in UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("declares a DOCTYPE, which no Sentinel-1 product does")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"is not XML ({error})") from None
    if root.tag != tag:
        raise ValueError(f"begins with <{root.tag[:40]}> and not <{tag}>")
    return root


def find_one(element: Element, path: str) -> Element:
    """Return the element at a path, or raise ValueError with a clause that names it."""
    found = element.find(path)
    if found is None:
        raise ValueError(f"has no {path}")
    return found


def find_text(element: Element, path: str) -> str:
    """Return the text at a path, without blanks around it."""
    return (find_one(element, path).text or "").strip()


def find_numbers(element: Element, path: str) -> FloatArray:
    """Return the finite numbers at a path, one at least."""
    words = find_text(element, path).split()
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError:
        raise ValueError(f"has {path} that is no number") from None
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"has {path} without a finite number")
    return numbers


def find_number(element: Element, path: str) -> float:
    """Return the one finite number at a path."""
    numbers = find_numbers(element, path)
    if numbers.size != 1:
        raise ValueError(f"has {numbers.size} numbers of {path} where one is due")
    return float(numbers[0])


def find_positive(element: Element, path: str) -> float:
    """Return the number above zero at a path."""
    number = find_number(element, path)
    if number <= 0:
        raise ValueError(f"has {path} {number:g}, which is none")
    return number


def find_time(element: Element, path: str) -> np.datetime64:
    """Return the time (UTC, microseconds) at a path."""
    text = find_text(element, path)
    try:
        time = np.datetime64(text.removesuffix("Z"), "us")
    except ValueError:
        raise ValueError(f"has {path} {text[:40]!r}, which is no time") from None
    if np.isnat(time):
        raise ValueError(f"has no {path}")
    return time
