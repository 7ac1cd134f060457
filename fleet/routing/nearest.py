"""Suggestions for a request that matches no route: similar hosts, and paths of the host. Pure. For people, not used for
requests."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

from fleet.routing.claims import ANY_HOST, Claim, claims_of
from fleet.routing.host import normal_host
from fleet.routing.table import RoutingTable

__all__ = ["nearest"]

MOST: Final = 5
"""Maximum number of hosts or paths listed; a table may have thousands."""
CLOSE: Final = 0.6
"""Minimum similarity (0 to 1) of the parts of two names in front of their common domain."""


def nearest(table: RoutingTable, host: bytes) -> tuple[str, ...]:
    """Lines that help with a value of Host that has no route."""
    claims = [(claim, route.app) for route in table.routes for claim in claims_of(route.rules)]
    if not claims:
        return ("there are no routes",)
    name = normal_host(host)
    fitting = [candidate.pattern for candidate in table.index.hosts(name)]
    if fitting:
        return tuple(_paths(pattern, claims) for pattern in fitting)
    hosts = list(dict.fromkeys(claim.host for claim, _ in claims))
    asked = name.decode(errors="replace")
    likeness = {host: _likeness(asked, host) for host in hosts}
    near = sorted((host for host in hosts if likeness[host] >= CLOSE), key=lambda host: -likeness[host])
    if near:
        return (f"did you mean {_listed((f'{host} ({_first_app(host, claims)})' for host in near), ' or ')}?",)
    return (f"there are routes for {_listed(sorted(hosts), ', ')}",)


def _likeness(asked: str, host: str) -> float:
    """Similarity from 0 to 1; 1 is the same name in another domain."""
    one, other = asked.split("."), host.split(".")
    if one[0] == other[0]:
        return 1.0
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return SequenceMatcher(None, ".".join(one), ".".join(other)).ratio()


def _paths(pattern: str, claims: Iterable[tuple[Claim, str]]) -> str:
    there = dict.fromkeys(f"{claim.path} ({app})" for claim, app in claims if claim.host == pattern)
    host = "any host" if pattern == ANY_HOST else pattern
    return f"{host} has routes for {_listed(there, ', ')}"


def _first_app(host: str, claims: Iterable[tuple[Claim, str]]) -> str:
    return next(app for claim, app in claims if claim.host == host)


def _listed(names: Iterable[str], glue: str) -> str:
    every = list(names)
    more = f" and {len(every) - MOST} more" if len(every) > MOST else ""
    return glue.join(every[:MOST]) + more
