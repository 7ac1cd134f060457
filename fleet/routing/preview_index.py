"""Finds the base of a request by the host of one of its previews, and the copies of each base. Pure.

A preview has no claims of its own in the index: its host is taken apart into its name and the host of its base, which costs two
lookups however many previews there are. Hosts that an older route claims belong to that route, and those of an older preview to
the preview.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fleet.routing.claims import Claim, claims_of
from fleet.routing.host import normal_host
from fleet.routing.match import Headers, Index
from fleet.routing.previews import DASH, DOT, Copy, Previews, is_copy_name
from fleet.routing.route import Route, Rule

__all__ = ["ByHost", "Copies", "PreviewRoutes", "copies_of", "hosts_of_copy"]


class ByHost(NamedTuple):
    """What the host of a preview says."""

    base: Route
    name: bytes
    """Perhaps of no copy."""
    base_host: bytes
    pattern: str


class Copies(NamedTuple):
    """All previews of a table."""

    names: Mapping[str, Mapping[bytes, str]]
    """Applications of copies by name, by base."""
    routes: Mapping[str, Route]
    """Routes of copies that have none of their own, by application."""
    taken: Mapping[str, Copy]
    """Hosts of previews that no older route claims."""
    lost: Sequence[tuple[str, Claim, str]]
    """Hosts that copies do not get: application, claim, and the application that has it."""

    def is_older(self, claim: Claim, route: Route) -> str | None:
        """The application of the preview that has the host of a claim."""
        copy = self.taken.get(claim.host)
        return None if copy is None or copy.app == route.app else copy.app


def copies_of(routes: Sequence[Route]) -> Copies | None:
    """The previews of these routes, the oldest of which is first; None if there are none."""
    bases = [route for route in routes if route.previews is not None]
    if not bases:
        return None
    own = {route.app for route in routes}
    names: dict[str, dict[bytes, str]] = {}
    derived: dict[str, Route] = {}
    hosts: dict[str, tuple[Copy, Route]] = {}
    for base in bases:
        found = names[base.app] = {}
        plain, exact = _without_copies(base), [*_exact_hosts(base.rules)]
        for copy in () if base.previews is None else base.previews.copies:
            if copy.elsewhere and (copy.app in own or copy.app in derived):
                continue  # what has this name there is somebody else's
            if copy.app not in own and copy.app not in derived:
                if copy.target is None:
                    continue  # its route is not there, so the name is unknown
                derived[copy.app] = msgspec.structs.replace(plain, app=copy.app, target=copy.target, created=copy.created)
            found[copy.name.encode()] = copy.app
            for host in _hosts(base, exact, copy.name):
                other = hosts.get(host)
                if other is None or (copy.created, copy.app) < (other[0].created, other[0].app):
                    hosts[host] = (copy, base)
    claimed = _claimed(routes, hosts)
    lost = [
        (copy.app, Claim(host, "/"), claimed[host].app)
        for host, (copy, base) in hosts.items()
        if host in claimed and (claimed[host] is base or claimed[host].created <= copy.created) and claimed[host].app != copy.app
    ]
    gone = {claim.host for _, claim, _ in lost}
    taken = {host: copy for host, (copy, _) in hosts.items() if host not in gone}
    return Copies(names, derived, taken, lost)


def _without_copies(base: Route) -> Route:
    """The treatment that copies have of their base: not its ports and weighted backends, which are its own."""
    rules = base.rules
    if any(rule.backends for rule in rules):
        rules = tuple(msgspec.structs.replace(rule, backends=()) for rule in rules)
    return msgspec.structs.replace(base, rules=rules, previews=None, ports=())


def hosts_of_copy(base: Route, name: str) -> Iterator[str]:
    """The hosts of a preview of this base."""
    return _hosts(base, [*_exact_hosts(base.rules)], name)


def number_of_hosts(base: Route) -> int:
    """How many each preview of this base has."""
    return len(_exact_hosts(base.rules)) * len((base.previews or Previews()).hosts)


def _hosts(base: Route, exact: Sequence[str], name: str) -> Iterator[str]:
    patterns = () if base.previews is None else base.previews.hosts
    for host in exact:
        for pattern in patterns:
            yield f"{name}.{host}" if pattern == DOT else f"{name}--{host}"


def _exact_hosts(rules: Iterable[Rule]) -> dict[str, None]:
    hosts = (normal_host(host.encode()).decode() for rule in rules for host in rule.hosts)
    return dict.fromkeys(host for host in hosts if not host.startswith("*"))


def _claimed(routes: Sequence[Route], hosts: Mapping[str, object]) -> dict[str, Route]:
    """The oldest route that claims one of these hosts itself."""
    found: dict[str, Route] = {}
    for route in routes:
        for claim in claims_of(route.rules):
            if claim.host in hosts:
                found.setdefault(claim.host, route)
    return found


class PreviewRoutes:
    """The index of a table in which some routes have previews."""

    __slots__ = ("_index", "_lost", "names")

    def __init__(self, index: Index[Route], copies: Copies) -> None:
        self._index = index
        self._lost = frozenset(claim.host.encode() for _, claim, _ in copies.lost)
        self.names = copies.names
        """Applications of copies by name, by base."""

    def search(self, host: bytes, path: bytes, headers: Headers) -> Route | None:
        """Like `Index.search`; the base, for the host of a preview. Known previews come before wildcards, unknown ones only
        before routes for any host."""
        index, host = self._index, normal_host(host)
        route = index.exact(host, path, headers)
        if route is not None:
            return route
        found = self._apart(host, path, headers)
        if found is not None and found.name in self.names[found.base.app]:
            return found.base
        route = index.wild(host, path, headers)
        if route is not None:
            return route
        return index.any(path, headers) if found is None else found.base

    def by_host(self, base: Route, host: bytes, path: bytes, headers: Headers) -> ByHost | None:
        """What the host of a request says that `search` has given to this base, or to an equal route of an earlier table; None if
        it is no host of a preview."""
        index, host = self._index, normal_host(host)
        if index.exact(host, path, headers) is not None:
            return None
        found = self._apart(host, path, headers)
        if found is None or found.base.app != base.app:
            return None
        known = found.name in self.names[base.app]
        return found if known or index.wild(host, path, headers) is None else None

    def _apart(self, host: bytes, path: bytes, headers: Headers) -> ByHost | None:
        label, _, rest = host.partition(b".")
        name, dashes, other = label.partition(b"--")
        pattern, base_host = (DASH, host[len(name) + 2 :]) if dashes else (DOT, rest)
        if not is_copy_name(name) or (dashes and not other) or host in self._lost:
            return None
        route = self._index.exact(base_host, path, headers)
        if route is None or route.previews is None or pattern not in route.previews.hosts:
            return None
        return ByHost(route, name, base_host, pattern)
