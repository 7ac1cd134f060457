"""The routing table: every route, immutable, with a version. Swapped whole, never edited; does no input or output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from fleet.routing.check import RouteError, check_route
from fleet.routing.claims import Claim, claims_of
from fleet.routing.match import Headers, Index
from fleet.routing.route import Route

__all__ = ["Conflict", "RouteError", "RoutingTable"]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Route)


class Conflict(msgspec.Struct, frozen=True):
    """A claim that a route does not get, because an older route holds the very same one."""

    app: str
    claim: Claim
    winner: str


class RoutingTable:
    """Every route. Equal content has an equal version, whatever order the routes came in.

    Raises RouteError for a route that is not valid, and for an application that has two.
    """

    __slots__ = ("_whole", "apps", "conflicts", "index", "reads_fields", "reads_headers", "reads_methods", "routes", "version")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        ordered = sorted(_checked(routes), key=lambda route: (route.created, route.app))
        # Through bytes once, so that numbers and sequences have the types that every reader of the encoded table gets.
        # One route at a time: one call for all of them would keep every other thread waiting for milliseconds.
        self.routes: tuple[Route, ...] = tuple(_decoder.decode(_encoder.encode(route)) for route in ordered)
        """Oldest first, then by name."""
        self.version: str = _version(self.routes)
        self.apps: Mapping[str, Route] = MappingProxyType({route.app: route for route in self.routes})
        owners: dict[Claim, Route] = {}
        self.conflicts: tuple[Conflict, ...] = tuple(_settle(self.routes, owners))
        """What younger routes do not get; oldest route first."""
        self.reads_headers: bool = any(rule.headers for route in self.routes for rule in route.rules)
        """Whether any route asks for a header; without one, `match` may be given none."""
        self.reads_methods: bool = any(rule.methods for route in self.routes for rule in route.rules)
        """Whether any route asks for a method."""
        self.reads_fields: bool = self.reads_headers or self.reads_methods
        self.index = Index(owners.items())
        self._whole = self.index.whole

    def match(self, host: bytes, path: bytes, headers: Headers) -> Route | None:
        """The route of a request, or None.

        host is the value of Host as it came; path is that of the request target, without query, "*" for a whole server;
        headers are (lower-case name, value) pairs, and METHOD with the method, looked at only where a route asks for one.
        """
        route = self._whole.get(host)
        return route if route is not None else self.index.search(host, path, headers)

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


def _settle(routes: Iterable[Route], owners: dict[Claim, Route]) -> Iterator[Conflict]:
    """Give each claim to the first that asks, and tell what the others do not get."""
    for route in routes:
        for claim in claims_of(route.rules):
            owner = owners.setdefault(claim, route)
            if owner is not route:
                yield Conflict(route.app, claim, owner.app)
