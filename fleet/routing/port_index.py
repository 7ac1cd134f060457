"""Which route a connection or datagram at a port belongs to: claims of ports, and their index by server name and ALPN. Pure.

A port without server names belongs to one route alone, the oldest that claims it: whoever could share it would change how its
connections are read. Ports with server names are shared, and each combination of name and ALPN belongs to the oldest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from fleet.routing.host import normal_host
from fleet.routing.port import ListenPort
from fleet.routing.route import Route

__all__ = ["PortClaim", "PortKey", "PortOwner", "PortRoutes", "Refused", "index_ports", "port_claims"]

ANY_NAME: Final = "*"


class PortKey(NamedTuple):
    """What a socket is bound to."""

    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


class PortClaim(msgspec.Struct, frozen=True):
    """A port, and what clients of TLS have to say first for it; equal values are the same claim."""

    key: PortKey
    name: str = ""
    """In lower case, "*.suffix" or "*"; "" for a port that is not shared."""
    alpn: str = ""
    """"" for every protocol."""

    def __str__(self) -> str:
        said = " ".join(filter(None, (self.name, self.alpn)))
        return f"{self.key}" + (f" [{said}]" if said else "")


class PortOwner(NamedTuple):
    """The route that a connection belongs to, and the port of it."""

    app: str
    port: ListenPort


class Refused(NamedTuple):
    """A claim that a route does not get, and who has it."""

    app: str
    claim: PortClaim
    winner: str


class PortRoutes:
    """The owners of one port."""

    __slots__ = ("_names", "alone")

    def __init__(self) -> None:
        self.alone: PortOwner | None = None
        """The owner of a port that is not shared."""
        self._names: dict[str, dict[str, PortOwner]] = {}
        """By server name, then by ALPN."""

    def __iter__(self) -> Iterator[PortOwner]:
        if self.alone is not None:
            yield self.alone
        for by_alpn in self._names.values():
            yield from by_alpn.values()

    def add(self, claim: PortClaim, owner: PortOwner) -> None:
        if claim.name:
            self._names.setdefault(claim.name, {})[claim.alpn] = owner
        else:
            self.alone = owner

    def find(self, name: str, alpn: Sequence[str] = ()) -> PortOwner | None:
        """The owner of a connection whose client asks for this name ("" without one, and for clients without TLS), and offers
        these protocols, the preferred first."""
        if self.alone is not None:
            return self.alone
        for candidate in _candidates(name):
            by_alpn = self._names.get(candidate)
            if by_alpn is None:
                continue
            for protocol in (*alpn, ""):
                found = by_alpn.get(protocol)
                if found is not None:
                    return found
        return None

    def knows(self, name: str) -> bool:
        """Whether some route takes this name, whatever the protocols are that clients offer."""
        return any(candidate in self._names for candidate in _candidates(name))


def _candidates(name: str) -> Iterator[str]:
    """The name itself, then wildcards, the longest first."""
    if name:
        yield name
        rest = name
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest:
                yield f"*.{rest}"
    yield ANY_NAME


def port_claims(ports: Iterable[ListenPort]) -> Iterator[tuple[PortClaim, ListenPort]]:
    """Every claim of valid ports."""
    for port in ports:
        key = PortKey(port.protocol, port.port)
        if not port.is_shared:
            yield PortClaim(key), port
            continue
        for name in port.server_names or (ANY_NAME,):
            for protocol in port.alpn or ("",):
                yield PortClaim(key, normal_host(name.encode()).decode(), protocol), port


def index_ports(routes: Iterable[Route]) -> tuple[Mapping[PortKey, PortRoutes], list[Refused]]:
    """Give each claim to the first route that has it; `routes` are the oldest first."""
    index: dict[PortKey, PortRoutes] = {}
    owners: dict[PortClaim, str] = {}
    first: dict[PortKey, tuple[str, bool]] = {}
    refused: list[Refused] = []
    for route in routes:
        for claim, port in port_claims(route.ports):
            holder, shared = first.setdefault(claim.key, (route.app, port.is_shared))
            winner = owners.setdefault(claim, route.app) if shared and port.is_shared else holder
            if winner != route.app:
                refused.append(Refused(route.app, claim, winner))
                continue
            index.setdefault(claim.key, PortRoutes()).add(claim, PortOwner(route.app, port))
    return index, refused
