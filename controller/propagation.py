"""Which interceptors serve the current route of each application. Pure: tables, members and answers come in as events.

An interceptor with an older table serves every route that has not changed since then, so a change of one application does not
affect the status of the others. A route that gains or loses a claim because of another route has changed as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TypeVar

import msgspec

from fleet.routing.route import Route
from fleet.routing.table import RoutingTable

__all__ = ["MAX_VERSIONS", "Interceptor", "Missing", "Propagation", "Verdict"]

MAX_VERSIONS = 4096
"""Maximum number of remembered versions. An interceptor with an older one counts as serving no known table."""

T = TypeVar("T")


class Interceptor(msgspec.Struct, frozen=True):
    """A pod that should serve the table: its name and "host:port"; the address is empty before the pod has one."""

    name: str
    address: str
    ready: bool


class Missing(msgspec.Struct, frozen=True):
    """An interceptor that does not serve a route, and why."""

    name: str
    why: str


class Verdict(msgspec.Struct, frozen=True):
    """How far a route has propagated."""

    version: str
    """The version of the table in which the route last changed."""
    serving: int
    total: int
    """The interceptors that count: those that are ready, and those that have answered before."""
    missing: tuple[Missing, ...]
    pending: bool
    """Some have neither answered nor failed yet, or the interceptors are not known yet."""

    @property
    def everywhere(self) -> bool:
        return self.total > 0 and not self.missing and not self.pending


class _Member:
    """The state of one interceptor. `serves` is the number of the newest publication that it has; 0 before it has answered."""

    def __init__(self, interceptor: Interceptor) -> None:
        self.interceptor = interceptor
        self.serves = 0
        self.failure = ""
        self.unbound: Mapping[tuple[str, int], str] = {}
        """Ports on which it cannot listen, and why."""


class Propagation:
    """Tracks which interceptors have which published tables."""

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}
        self._known = False
        self._numbers: dict[str, int] = {}
        self._versions: dict[int, str] = {}
        self._number = 0
        self._published = 0
        self._table: RoutingTable | None = None
        self._said: Mapping[str, object] = {}
        self._since: dict[str, int] = {}
        self._reported: Mapping[str, tuple[object, ...]] = {}

    @property
    def version(self) -> str:
        """Version of the newest stored table; "" before the first."""
        return self._versions.get(self._published, "")

    @property
    def interceptors(self) -> tuple[Interceptor, ...]:
        return tuple(member.interceptor for member in self._members.values())

    def expect(self, table: RoutingTable) -> None:
        """The table is about to be stored. An interceptor may serve it before the write is confirmed."""
        if self._table is not None and self._table.version == table.version:
            return
        self._number += 1
        before, self._said = self._said, _said(table)
        self._since = {app: self._since[app] if before.get(app) == said else self._number for app, said in self._said.items()}
        self._table = table
        self._numbers.pop(table.version, None)  # move it to the end: the oldest is forgotten first
        self._numbers[table.version] = self._number
        self._versions[self._number] = table.version
        while len(self._numbers) > MAX_VERSIONS:
            del self._numbers[next(iter(self._numbers))]
        while len(self._versions) > MAX_VERSIONS:
            del self._versions[next(iter(self._versions))]

    def publish(self, table: RoutingTable) -> bool:
        """The table was stored: from now on interceptors should serve it. Returns whether it is new."""
        self.expect(table)
        before, self._published = self._published, self._number
        # Applications changed by this table are reported again, even if all interceptors serve it already: their verdict may have
        # been computed while it was being written.
        self._reported = {app: meaning for app, meaning in self._reported.items() if self._since.get(app, 0) <= before}
        return self._published != before

    def members(self, interceptors: Iterable[Interceptor]) -> None:
        """Set the pods that exist."""
        known = self._members
        self._known = True
        self._members = {}
        for interceptor in interceptors:
            member = self._members[interceptor.name] = known.get(interceptor.name) or _Member(interceptor)
            member.interceptor = interceptor

    def answered(self, name: str, version: str, *, asked: str) -> bool:
        """An interceptor answered that it serves this version. Returns whether it is at least as new as the newest one when it
        was asked."""
        member = self._members.get(name)
        if member is None:
            return False
        member.serves = self._numbers.get(version, 0)
        fresh = member.serves > 0 and member.serves >= self._numbers.get(asked, 0)
        member.failure = "" if fresh else f"serves version {version or '(none)'}"
        return fresh

    def unbound(self, name: str, ports: Mapping[tuple[str, int], str]) -> None:
        """An interceptor has told on which ports it cannot listen."""
        member = self._members.get(name)
        if member is not None:
            member.unbound = ports

    def not_listening(self, route: Route) -> tuple[Missing, ...]:
        """The interceptors that cannot listen on a port of a route, and why."""
        if not route.ports:
            return ()
        wanted = [(port.protocol, port.port) for port in route.ports]
        found = (
            Missing(member.interceptor.name, f"{' port '.join(map(str, key))}: {member.unbound[key]}")
            for member in self._counted()
            for key in dict.fromkeys(wanted)
            if key in member.unbound
        )
        return tuple(sorted(found, key=lambda missing: (missing.name, missing.why)))

    def failed(self, name: str, why: str) -> None:
        """An interceptor gave no valid answer."""
        member = self._members.get(name)
        if member is not None:
            member.failure = why

    def behind(self, name: str) -> bool:
        """Whether an interceptor must be asked: it has not yet answered that it serves the newest table."""
        member = self._members.get(name)
        return member is not None and member.serves < self._published

    def verdict(self, route: Route) -> Verdict | None:
        """How far a route has propagated; None for a route that is not in the newest stored table."""
        if self._table is None or self._table.apps.get(route.app) != route:
            return None
        since = self._since[route.app]
        return self._verdict(since) if since <= self._published else None

    def changed(self) -> list[str]:
        """The applications whose verdict has changed since the last call."""
        by_since = {since: self._verdict(since) for since in set(self._since.values()) if since <= self._published}
        routes = {} if self._table is None else self._table.apps
        now = {
            app: (*_meaning(by_since[since]), self.not_listening(routes[app]))
            for app, since in self._since.items()
            if since in by_since
        }
        before, self._reported = self._reported, now
        return [app for app, meaning in now.items() if before.get(app) != meaning]

    def _verdict(self, since: int) -> Verdict:
        counted = [*self._counted()]
        behind = [member for member in counted if member.serves < since]
        missing = tuple(
            sorted((Missing(m.interceptor.name, m.failure) for m in behind if m.failure), key=lambda missing: missing.name)
        )
        version = self._versions.get(since, self.version)
        return Verdict(
            version, len(counted) - len(behind), len(counted), missing, pending=not self._known or len(missing) < len(behind)
        )

    def _counted(self) -> Iterator[_Member]:
        """Interceptors that count. A starting pod does not: it takes no requests, and reads the newest table before it does."""
        for member in self._members.values():
            if member.interceptor.ready or member.serves:
                yield member


def _said(table: RoutingTable) -> dict[str, object]:
    """What a table contains about each application: its route, and the claims that it does not get."""
    said: dict[str, object] = dict(table.apps)
    for app, lost in groupby(table.conflicts, key=lambda conflict: conflict.app):
        said[app] = (said[app], frozenset(conflict.claim for conflict in lost))
    return said


def _meaning(verdict: Verdict) -> tuple[bool, bool, tuple[Missing, ...]]:
    return (verdict.total > 0, verdict.pending, verdict.missing)
