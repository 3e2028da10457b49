"""How often, how long and how much a client may send, before anything else looks at it."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from starlette.responses import Response

from gssm.errors import GssmError, RequestError
from gssm.web.context import CLIENT
from gssm.web.problems import (
    LargeBodyError,
    LongAddressError,
    MalformedError,
    MediaTypeError,
    OtherHostError,
    SlowBodyError,
    TooManyRequestsError,
    problem,
)
from gssm.web.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Network = IPv4Network | IPv6Network
# Of bodies that are read.
JSON_TYPES = (b"application/json", b"application/geo+json")
# One household has as many addresses of IPv6 as it likes; its network is the client.
IPV6_PREFIX = 64
# Some proxies name the port of the client, too: 203.0.113.7:1234, [2001:db8::7]:1234.
PORT = re.compile(r"^(?:([0-9.]+)|\[([0-9a-f:.]+)\])(?::\d{1,5})?$", re.ASCII | re.IGNORECASE)


class Buckets:
    """Token buckets by client; of a bounded number of clients the last seen are kept.

    Parameters
    ----------
    rate
        Requests a second in the long run.
    burst
        Requests at once.
    clients
        At most that are remembered.
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clients: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate, self.burst, self.clients, self._clock = rate, burst, clients, clock
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, client: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        now = self._clock()
        tokens, since = self._known.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        self._known[client] = (tokens - allowed, now)
        if len(self._known) > self.clients:
            self._known.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate


def networks_of(proxies: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of trusted proxies.

    Raises
    ------
    RequestError
        One is neither an address nor a network.
    """
    try:
        return tuple(ip_network(proxy, strict=False) for proxy in proxies)
    except ValueError as error:
        raise RequestError(
            f"trusted proxy: {error}; give addresses or networks, such as '10.0.0.0/8'."
        ) from error


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return who asks: behind trusted proxies the last address that none of them has.

    Only what a trusted proxy wrote is believed: ``X-Forwarded-For`` is read from its end.
    """
    peer = (scope.get("client") or ("unknown", 0))[0]
    named = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    hops = [hop.strip() for line in named for hop in line.split(",")] if trusted else []
    address = peer
    while hops and _is_trusted(address, trusted):
        try:
            address = str(ip_address(PORT.sub(r"\1\2", hops.pop())))
        except ValueError:
            break  # nothing before it can be believed
    return _network_of(address)


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    # Of a socket for both, IPv4 comes as IPv6.
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in trusted)


def _network_of(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((int(found), IPV6_PREFIX), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)


class LimitsMiddleware:
    """Refuses requests that are too many, too long, too large or too slow.

    A body is read here, as it is small, so that no endpoint waits for one.

    Parameters
    ----------
    app
        The app below.
    limits
        Numbers.
    trusted_proxies, hosts
        As of `gssm.web.settings.Settings`.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        trusted_proxies: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> None:
        self.app, self.limits = app, limits
        self.hosts = frozenset(host.lower() for host in hosts)
        self.trusted = networks_of(trusted_proxies)
        self.buckets = Buckets(limits.requests_per_second, limits.burst, limits.clients)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = client_address(scope, self.trusted) if self.trusted else _peer(scope)
        scope[CLIENT] = client
        try:
            self._check(scope, client)
            if has_body(scope):
                receive = await self._with_body(scope, receive)
        except GssmError as error:
            response: Response = problem(error)
            # The rest of the body is not read: the connection cannot be used again.
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope, client: str) -> None:
        wait = self.buckets.take(client)
        if wait:
            rate = self.limits.requests_per_second
            raise TooManyRequestsError(
                f"more than {rate:g} requests a second came from this address; ask again in "
                f"{math.ceil(wait)} s.",
                math.ceil(wait),
            )
        if self.hosts and _host(scope) not in self.hosts:
            raise OtherHostError(
                "this server does not have the name that the request was sent to; use the one "
                "that its owner tells, who gives it to gssm serve with --host-name."
            )
        length = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
        if length > self.limits.url_bytes:
            raise LongAddressError(
                f"the address has {length} bytes and may have {self.limits.url_bytes}; send a "
                "polygon in the body of a POST instead."
            )

    async def _with_body(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body; return what gives it again."""
        self._check_body(scope)
        body = bytearray()
        seconds, most = self.limits.body_seconds, self.limits.body_bytes
        try:
            async with asyncio.timeout(seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise _large(most)
        except TimeoutError as error:
            raise SlowBodyError(
                f"the body was not there after {seconds:g} s; send it at once."
            ) from error
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        return again

    def _check_body(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        if length is not None and not length.isdigit():
            raise MalformedError("the header Content-Length is no number; send the right one.")
        if length is not None and int(length[:20]) > self.limits.body_bytes:
            raise _large(self.limits.body_bytes)
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        encoded = headers.get(b"content-encoding", b"identity").strip().lower()
        is_empty = length is not None and int(length[:20]) == 0
        if not is_empty and (kind not in JSON_TYPES or encoded != b"identity"):
            raise MediaTypeError(
                "the body is not plain JSON; send it with the header "
                "Content-Type: application/json."
            )


def _host(scope: Scope) -> str:
    """Name of the server as a request has it, without the port."""
    stated = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return re.sub(r":\d*$", "", stated.decode("latin-1").lower())


def _large(most: int) -> LargeBodyError:
    return LargeBodyError(
        f"the body has more than {most} bytes; simplify the polygon, or ask for parts of it."
    )


def _peer(scope: Scope) -> str:
    return _network_of((scope.get("client") or ("unknown", 0))[0])


def has_body(scope: Scope) -> bool:
    """Tell whether a request says that it has a body."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
