"""The routing table: all routes, immutable, with a version. Replaced as a whole, never edited. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from fleet.routing.check import RouteError, check_route
from fleet.routing.claims import Claim, claims_of
from fleet.routing.dependencies import Dependencies, dependencies_of
from fleet.routing.match import Headers, Index
from fleet.routing.port_index import PortClaim, PortKey, PortRoutes, index_ports
from fleet.routing.preview_index import Copies, PreviewRoutes, copies_of
from fleet.routing.route import Route

__all__ = ["Conflict", "RouteError", "RoutingTable"]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Route)


class Conflict(msgspec.Struct, frozen=True):
    """A claim that a route does not get, because an older route has the same claim."""

    app: str
    claim: Claim | PortClaim
    winner: str


class RoutingTable:
    """All routes. Equal content has an equal version, in whatever order the routes were given.

    Raises RouteError for an invalid route, and for an application with two routes.
    """

    __slots__ = (
        "_dependencies", "_search", "apps", "conflicts", "index", "ports", "previews", "reads_fields", "reads_headers",
        "reads_methods", "routes", "version", "whole",
    )  # fmt: skip

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        ordered = sorted(_checked(routes), key=lambda route: (route.created, route.app))
        # Encode and decode once, so that numbers and sequences have the same types as in a decoded table. One route per call,
        # because one call for all would hold the GIL for milliseconds.
        self.routes: tuple[Route, ...] = tuple(_decoder.decode(_encoder.encode(route)) for route in ordered)
        """Oldest first, then by name."""
        self.version: str = _version(self.routes)
        copies = copies_of(self.routes)
        derived: Mapping[str, Route] = {} if copies is None else copies.routes
        self.apps: Mapping[str, Route] = MappingProxyType({**{route.app: route for route in self.routes}, **derived})
        """Also those of previews that have no route of their own."""
        owners: dict[Claim, Route] = {}
        ports, refused = index_ports(self.routes)
        self.ports: Mapping[PortKey, PortRoutes] = MappingProxyType(dict(ports))
        """The owners of each port on which interceptors listen."""
        lost = [*_settle(self.routes, owners, copies), *(Conflict(*each) for each in refused)]
        lost += () if copies is None else (Conflict(*each) for each in copies.lost)
        order = {app: position for position, app in enumerate(self.apps)} if refused or copies is not None else {}
        if order:
            lost.sort(key=lambda conflict: order[conflict.app])
        self.conflicts: tuple[Conflict, ...] = tuple(lost)
        """Claims that younger routes do not get; oldest route first."""
        self.reads_headers: bool = any(rule.headers for route in self.routes for rule in route.rules)
        """Whether any route checks a header; if not, `match` may be called without headers."""
        self.reads_methods: bool = any(rule.methods for route in self.routes for rule in route.rules)
        """Whether any route checks the method."""
        self.reads_fields: bool = self.reads_headers or self.reads_methods
        self.index = Index(owners.items())
        self.whole: Mapping[bytes, Route] = self.index.whole
        """Routes that claim a host as a whole, whatever else a request says. Such a host is none of a preview."""
        self.previews: PreviewRoutes | None = None if copies is None else PreviewRoutes(self.index, copies)
        """None if no route has previews."""
        self._dependencies: Dependencies | None = None
        self._search = self.index.search if self.previews is None else self.previews.search

    @property
    def dependencies(self) -> Dependencies:
        """Which applications wake which others. Interceptors do not need it, so it is found when it is first asked for."""
        if self._dependencies is None:
            self._dependencies = dependencies_of(self.apps, {} if self.previews is None else self.previews.names)
        return self._dependencies

    def match(self, host: bytes, path: bytes, headers: Headers) -> Route | None:
        """The route of a request, or None.

        host is the value of Host as received; path is the path of the request target without the query, or "*"; headers are
        (lower-case name, value) pairs, and METHOD with the method, which are used only if a route checks one.
        """
        route = self.whole.get(host)
        return route if route is not None else self._search(host, path, headers)

    def __repr__(self) -> str:
        return f"<RoutingTable {self.version}: {len(self.routes)} routes>"


def _checked(routes: Iterable[Route]) -> Iterator[Route]:
    seen: set[str] = set()
    for route in routes:
        check_route(route)
        if route.app in seen:
            raise RouteError(route.app, "app", "has two routes in one table")
        seen.add(route.app)
        yield route


def _version(routes: tuple[Route, ...]) -> str:
    content = hashlib.sha256()
    for route in routes:
        content.update(_encoder.encode(route))
    return content.hexdigest()[:32]


def _settle(routes: Iterable[Route], owners: dict[Claim, Route], copies: Copies | None) -> Iterator[Conflict]:
    """Assign each claim to the first route that has it, unless its host is that of an older preview; yields the conflicts of the
    others."""
    for route in routes:
        for claim in claims_of(route.rules):
            older = None if copies is None else copies.is_older(claim, route)
            if older is not None:
                yield Conflict(route.app, claim, older)
                continue
            owner = owners.setdefault(claim, route)
            if owner is not route:
                yield Conflict(route.app, claim, owner.app)
