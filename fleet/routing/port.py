"""What a route says of the ports on which interceptors listen for it (TCP and UDP): values, and what they may be. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

import msgspec

from fleet.routing.declare import Field, Kind
from fleet.routing.faults import Fail
from fleet.routing.firstbytes import PatternError, parse_pattern
from fleet.routing.kinds import HOST, PORT, PORT_NUMBER, POSITIVE_SECONDS, REPLIES
from fleet.routing.protocols import DATAGRAMS, STREAM
from fleet.routing.target import Connects, Target

__all__ = [
    "ALPN",
    "FLOW_IDLE_SECONDS",
    "MAX_ALPN",
    "MAX_NETWORKS",
    "MAX_PATTERNS",
    "MAX_PORTS",
    "MAX_SERVER_NAMES",
    "NETWORK",
    "PATTERN",
    "PROXY_HEADER",
    "PROXY_HEADERS",
    "TCP",
    "TERMINATE",
    "TLS_MODE",
    "TLS_MODES",
    "TRANSPORT",
    "TRANSPORTS",
    "UDP",
    "ListenPort",
    "PortTarget",
    "Uncounted",
    "check_port",
    "check_ports",
]

TCP: Final = "TCP"
UDP: Final = "UDP"
TRANSPORTS: Final = (TCP, UDP)
PROXY_HEADERS: Final = ("v1", "v2")
TERMINATE: Final = "terminate"
TLS_MODES: Final = ("passthrough", TERMINATE)

FLOW_IDLE_SECONDS: Final = 60
"""Of a UDP flow, if its port does not say it: longer than the pauses in which games and calls keep their flows alive."""
MAX_PORTS: Final = 64
"""Ports of one route: each is a listening socket in every interceptor."""
MAX_SERVER_NAMES: Final = 100
MAX_ALPN: Final = 16
"""More than any client offers."""
MAX_NETWORKS: Final = 64
"""Each new connection is compared with all of them."""
MAX_PATTERNS: Final = 16
"""Patterns of first bytes. Each is compared with the first bytes of every connection."""
_ALPN: Final = re.compile(r"[!-~]{1,255}")


def _one_of(words: tuple[str, ...]) -> Kind:
    def check(word: str, field: str, fail: Fail) -> None:
        if word not in words:
            raise fail(field, f"{word[:40]!r} is neither {' nor '.join(words)}")

    return Kind(check)


def _network(text: str, field: str, fail: Fail) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise fail(field, f"{text[:60]!r} is not a network such as 10.1.0.0/16, or an address") from None


def _alpn(text: str, field: str, fail: Fail) -> None:
    if not _ALPN.fullmatch(text):
        raise fail(field, f"{text[:60]!r} is no protocol name of ALPN")


def _pattern(text: str, field: str, fail: Fail) -> None:
    try:
        parse_pattern(text)
    except PatternError as error:
        raise fail(field, str(error)) from None


TRANSPORT: Final = _one_of(TRANSPORTS)
PROXY_HEADER: Final = _one_of(PROXY_HEADERS)
TLS_MODE: Final = _one_of(TLS_MODES)
NETWORK: Final = Kind(_network)
ALPN: Final = Kind(_alpn, max_length=255)
PATTERN: Final = Kind(_pattern)


class Uncounted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Connections that are no demand: they neither wake the application nor keep it awake. While no backend is ready, one that is
    known to be uncounted is closed."""

    silent: Annotated[
        float | None,
        Field(
            "Connections count from the client's first byte on. Without a ready backend, one that has said nothing for this long "
            "is closed. Not for protocols in which the server speaks first. UDP: flows count from the second datagram on, and "
            "the first is kept for so long.",
            POSITIVE_SECONDS,
        ),
    ] = None
    networks: Annotated[
        tuple[str, ...],
        Field("Networks, or addresses, whose connections never count.", NETWORK, most=MAX_NETWORKS, called="networks"),
    ] = ()
    first_bytes: Annotated[
        tuple[str, ...],
        Field(
            r'Patterns: a connection never counts whose first bytes (UDP: first datagram) fit one, such as "PING\r\n". "*" is '
            r"any bytes; \r, \n, \t, \0, \xNN, \* and \\ are single ones.",
            PATTERN,
            most=MAX_PATTERNS,
            called="patterns",
        ),
    ] = ()


class ListenPort(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port on which interceptors listen. Bytes are passed on as they are, unless TLS is terminated."""

    port: Annotated[int, Field("Number of the port on which interceptors listen.", PORT_NUMBER)]
    protocol: Annotated[str, Field("TCP or UDP.", TRANSPORT)] = TCP
    service_port: Annotated[
        int | str | None, Field("Number or name of the Service's port behind it. Without it, that of the target.", PORT)
    ] = None
    server_names: Annotated[
        tuple[str, ...],
        Field(
            'Names that clients of TLS ask for (SNI): exact, "*.example.com", or "*" for all others and for clients without a '
            "name. With these, several applications share the port.",
            HOST,
            most=MAX_SERVER_NAMES,
            called="server names",
        ),
    ] = ()
    alpn: Annotated[
        tuple[str, ...],
        Field(
            "Protocols that clients of TLS offer (ALPN); one of them has to be among them. Without any, all clients of the name.",
            ALPN,
            most=MAX_ALPN,
            called="protocols",
        ),
    ] = ()
    proxy_protocol: Annotated[
        str | None, Field("v1 or v2: backends get the client's address in a header of the PROXY protocol.", PROXY_HEADER)
    ] = None
    idle: Annotated[
        float | None,
        Field(
            "TCP: a connection without a byte for this long stops counting, and counts again from its client's next byte on; "
            "without it, it counts while it is open. UDP: a flow without a datagram for this long ends; without it, after 60s.",
            POSITIVE_SECONDS,
        ),
    ] = None
    replies: Annotated[
        int | None,
        Field(
            "UDP: how many datagrams a backend sends for each one of a client, such as 1 for DNS. A flow ends when all came.",
            REPLIES,
        ),
    ] = None
    uncounted: Annotated[Uncounted, Field("Connections that neither wake the application nor keep it awake.")] = Uncounted()
    tls: Annotated[
        str | None,
        Field(
            "terminate: interceptors speak TLS with clients, with the certificates of their port for TLS, and backends get the "
            "plain bytes. passthrough, or without it: backends get what clients send.",
            TLS_MODE,
        ),
    ] = None

    @property
    def terminates(self) -> bool:
        """Whether TLS of its clients ends at the interceptor."""
        return self.tls == TERMINATE

    @property
    def is_shared(self) -> bool:
        """Whether applications share the port by what clients of TLS say first."""
        return bool(self.server_names or self.alpn)

    @property
    def place(self) -> str:
        """What distinguishes it from the other ports of its route, for people as well."""
        names = ", ".join((*self.server_names, *self.alpn))
        return f"{self.protocol} {self.port}" + (f" ({names})" if names else "")


class PortTarget(Target, frozen=True):
    """Where the connections of a port go: derived from the target of its route, and never written."""

    datagrams: bool = False

    @classmethod
    def of(cls, target: Target, port: ListenPort) -> PortTarget:
        said = {name: getattr(target, name) for name in ("service", "port", "direct", "host", "addresses")}
        if port.service_port is not None:
            said["port"] = port.service_port
        return cls(**said, datagrams=port.protocol == UDP)

    @property
    def key(self) -> str:
        """That of a UDP port of a Service says so, because the Service may have a TCP port of the same number."""
        key = self._plain.key
        if not self.datagrams or not self.service or self.port is None:
            return key
        place, at, how = key.partition("@")
        return f"{place}/udp{at}{how}"

    @property
    def connects(self) -> Connects:
        return Connects(DATAGRAMS if self.datagrams else STREAM)

    @property
    def _plain(self) -> Target:
        return Target(service=self.service, port=self.port, direct=self.direct, host=self.host, addresses=self.addresses)


def check_port(port: ListenPort, at: str, fail: Fail) -> None:
    """Rules about several fields."""
    if port.protocol == TCP:
        if port.replies is not None:
            raise fail(f"{at}.replies", "is for UDP")
        return
    for name in ("server_names", "alpn", "proxy_protocol", "tls"):
        if getattr(port, name):
            raise fail(f"{at}.{name}", "is for TCP")


def check_ports(ports: tuple[ListenPort, ...], fail: Fail) -> None:
    """Rules about the ports of one route."""
    modes: dict[tuple[str, int], bool] = {}
    seen: set[tuple[object, ...]] = set()
    for position, port in enumerate(ports):
        key = (port.protocol, port.port)
        if not port.is_shared and key in modes:
            raise fail(f"ports[{position}].port", f"{port.protocol} {port.port} is there twice")
        if port.is_shared and modes.get(key) is False:
            raise fail(f"ports[{position}].port", f"{port.protocol} {port.port} is there once without server names, and so alone")
        modes[key] = port.is_shared
        for name in port.server_names or ("*",):
            for protocol in port.alpn or ("",):
                one = (*key, name.lower().rstrip("."), protocol)
                if port.is_shared and one in seen:
                    raise fail(f"ports[{position}].server_names", f"{name} is there twice")
                seen.add(one)
