"""Which addresses a catalogue may lead to: never into this machine or its private networks.

What a STAC item points to was written by others. GDAL would follow it into virtual files,
archives and any host that this machine can reach, so every address is checked twice:
against its catalogue when it is found (`Origin`), and again when it is opened, where names
of hosts are looked up.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import cachetools

Network = Literal["public", "private", "loopback", "forbidden"]

LOCAL_SCHEMES = ("", "file")
WEB_SCHEMES = ("http", "https")
STORE_SCHEMES = ("s3", "gs", "az")

# Where clouds tell a machine its own credentials; some of them look like public addresses.
METADATA = (
    *("169.254.0.0/16", "fe80::/10", "168.63.129.16/32", "100.100.100.200/32"),
    *("192.0.0.192/32", "fd00:ec2::254/128"),
)
METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data", "metadata.goog")
PRIVATE_SUFFIXES = (".internal", ".local", ".lan", ".intranet", ".corp", ".home.arpa")
# IPv6 addresses whose last four bytes are an IPv4 address: compatible, and NAT64.
CARRIERS = ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")
LOOKUP_SECONDS = 300

# Networks beyond the public one that processes may read from, for workers that no search
# has prepared: "loopback", "private", or both with a comma.
VARIABLE = "GSSM_NETWORKS"


@dataclass(frozen=True)
class Origin:
    """Where items come from, and so where they may lead.

    Parameters
    ----------
    networks
        Of the hosts that they may name.
    root
        Folder of the local files that they may name; None: no local file at all, or any
        if ``is_trusted``.
    is_trusted
        The user's own items, handed over in memory: any local path.
    """

    networks: frozenset[Network] = frozenset({"public"})
    root: Path | None = None
    is_trusted: bool = False


# Given by hand: a path is then the user's own, but an intranet host may still be a trap.
MEMORY = Origin(is_trusted=True)
# The address of a catalogue itself, which the user gave.
ANYWHERE = Origin(frozenset({"public", "private", "loopback"}), is_trusted=True)


def origin_of_api(url: str) -> Origin:
    """Return where the items of a STAC API may lead: as far inside as the API itself lies."""
    inside = network_of(urlsplit(url).hostname or "", lookup=True)
    return Origin(frozenset({"public", inside}) - {"forbidden"})


def origin_of_folder(path: Path) -> Origin:
    """Return where the items of a folder may lead; those of one file as if from memory.

    A file is a search that somebody saved, and its images lie where they did then.
    """
    return Origin(root=path) if path.is_dir() else MEMORY


def objection(href: str, origin: Origin, *, lookup: bool = False) -> str:
    """Say why an address must not be opened; an empty string where it may be.

    Parameters
    ----------
    href
        Address or path, as an item states it.
    origin
        Where the item comes from.
    lookup
        Ask for the addresses behind the name of a host.
    """
    if href.startswith("/vsi") or re.search(r"[\x00-\x1f\x7f]", href):
        return "it is no plain address"
    try:
        parts = urlsplit(href)
        host, _ = parts.hostname or "", parts.port
        # Half characters, which JSON can hold; bytes of a file's name may look like them.
        os.fsencode(href) if parts.scheme in LOCAL_SCHEMES else href.encode()
    except ValueError:
        return "it is no plain address"
    if parts.scheme not in (*STORE_SCHEMES, *LOCAL_SCHEMES, *WEB_SCHEMES):
        return f"{parts.scheme}: is no kind of address that gssm opens"
    if parts.scheme and not href.startswith(f"{parts.scheme}://"):
        return "it is no plain address"  # HTTP://, gs:../a: who opens it may take it for a path
    if parts.scheme in STORE_SCHEMES:
        # fsspec reads what follows "::" as an address of its own.
        return "" if parts.netloc and "::" not in href else "it names no plain bucket"
    if parts.scheme in LOCAL_SCHEMES:
        return _objection_to_path(local_path(href), origin, host)
    if not host or re.search(r"[\s\\%@]", parts.netloc + parts.path.partition("/")[0]):
        return "it names no plain host"
    network = network_of(host, lookup=lookup)
    if network in origin.networks:
        return ""
    return f"the host {host} is {_WHERE[network]}"


def local_path(href: str) -> str:
    """Return the path that a path or ``file://`` address names, to be checked and opened."""
    return unquote(urlsplit(href).path) if href.startswith("file://") else href


def file_version(href: str) -> float:
    """Tell a local file that was written anew from what it was before."""
    try:
        return os.stat(local_path(href)).st_mtime
    except OSError:
        return 0.0  # remote, or gone: reading it will tell


_WHERE: dict[Network, str] = {
    "public": "public, and its catalogue is not",
    "private": "in a private network, and its catalogue is not",
    "loopback": "this machine itself, and its catalogue is not",
    "forbidden": "link-local or serves credentials",
}


def _objection_to_path(path: str, origin: Origin, host: str) -> str:
    if host not in ("", "localhost"):
        return f"it is a file of the host {host}"
    if origin.is_trusted:
        return ""
    if origin.root is None:
        return "a catalogue elsewhere must not name files of this machine"
    # What is not there is told when it is read. Links inside the folder are the user's.
    root, place = Path(os.path.abspath(origin.root)), Path(os.path.abspath(path))
    inside = place.is_relative_to(root) or place.is_relative_to(root.resolve())
    return "" if inside or not os.path.exists(place) else f"it lies outside {root}"


def network_of(host: str, *, lookup: bool = False) -> Network:
    """Tell in which network a host is, from its name or address alone unless ``lookup``."""
    name = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".").lower()
    address = _address(name)
    if address is not None:
        return _network(address)
    if re.fullmatch(r"[0-9.]*|.*\.0x[0-9a-f]*|0x[0-9a-f]*", name) or name in METADATA_NAMES:
        return "forbidden"  # a number that is no address
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback"
    found = {_network(a) for a in _looked_up(name)} if lookup else set()
    if not found and ("." not in name or name.endswith(PRIVATE_SUFFIXES)):
        return "private"
    order: tuple[Network, ...] = ("forbidden", "loopback", "private")
    return next((n for n in order if n in found), "public")


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(name: str) -> Address | None:
    """Read a numeric host in any of the ways that libraries do: 127.1, 0x7f000001, 2130706433."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    if re.fullmatch(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+)){0,3}", name):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except OSError:
            pass
    return None


@cache
def _networks(names: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)


def _network(address: Address) -> Network:
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        within = address.ipv4_mapped or address.sixtofour
        if within is None and any(address in n for n in _networks(CARRIERS)) and int(address) > 1:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within is not None:
            return _network(within)
    if any(address in n for n in _networks(METADATA)) or address.is_multicast:
        return "forbidden"
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    return "public" if address.is_global else "private"


@cachetools.cached(cachetools.TTLCache(maxsize=1024, ttl=LOOKUP_SECONDS))
def _looked_up(name: str) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()  # opening it will tell, or a proxy knows it
    return tuple({ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found})


_reached: set[Network] = set()


def reach(networks: Iterable[Network]) -> None:
    """Let this process read from networks that a catalogue of the user's lies in."""
    _reached.update(networks)


def reached() -> frozenset[Network]:
    """Return the networks that this process may read from."""
    stated = {n.strip() for n in os.environ.get(VARIABLE, "").split(",")}
    inside: tuple[Network, ...] = ("private", "loopback")
    return frozenset({"public", *_reached, *(n for n in inside if n in stated)})


def objection_to_opening(href: str) -> str:
    """Say why this process must not open an address now; an empty string where it may."""
    reason = objection(href, Origin(reached(), is_trusted=True), lookup=True)
    return f"{reason} (environment variable {VARIABLE})" if "catalogue is not" in reason else reason
