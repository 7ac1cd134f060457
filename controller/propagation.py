"""Which interceptors serve the route of which application. Pure: tables, members and answers come in as events.

A member that serves an older table serves every route that has not changed since; so the change of one application
says nothing about the others, and nobody's status is written for it. But a route that gets a claim of another, or loses
one to it, has changed with it.
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
"""Versions that are remembered. A member behind all of these is told as serving none that is known."""

T = TypeVar("T")


class Interceptor(msgspec.Struct, frozen=True):
    """A pod that should serve the table: its name and "host:port"; the address is empty before it has one."""

    name: str
    address: str
    ready: bool


class Missing(msgspec.Struct, frozen=True):
    """An interceptor that does not serve a route, and why."""

    name: str
    why: str


class Verdict(msgspec.Struct, frozen=True):
    """How far a route has come."""

    version: str
    """The version of the table that brought it."""
    serving: int
    total: int
    """Interceptors that count: those that are ready, and those that have answered before."""
    missing: tuple[Missing, ...]
    pending: bool
    """Some have neither answered nor failed yet, or it is not known yet who there is."""

    @property
    def everywhere(self) -> bool:
        return self.total > 0 and not self.missing and not self.pending


class _Member:
    """What is known of one interceptor. `serves` is the newest publication that it has; 0 before it has answered."""

    def __init__(self, interceptor: Interceptor) -> None:
        self.interceptor = interceptor
        self.serves = 0
        self.failure = ""


class Propagation:
    """Follows publications through the fleet."""

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
        self._told: dict[str, tuple[bool, bool, tuple[Missing, ...]]] = {}

    @property
    def version(self) -> str:
        """Of the newest table that the store has; "" before the first."""
        return self._versions.get(self._published, "")

    @property
    def interceptors(self) -> tuple[Interceptor, ...]:
        return tuple(member.interceptor for member in self._members.values())

    def expect(self, table: RoutingTable) -> None:
        """The store is about to have this table. An interceptor may serve it sooner than it is known to be written."""
        if self._table is not None and self._table.version == table.version:
            return
        self._number += 1
        before, self._said = self._said, _said(table)
        self._since = {app: self._since[app] if before.get(app) == said else self._number for app, said in self._said.items()}
        self._table = table
        self._numbers.pop(table.version, None)  # to the end: the oldest is forgotten first
        self._numbers[table.version] = self._number
        self._versions[self._number] = table.version
        while len(self._numbers) > MAX_VERSIONS:
            del self._numbers[next(iter(self._numbers))]
        while len(self._versions) > MAX_VERSIONS:
            del self._versions[next(iter(self._versions))]

    def publish(self, table: RoutingTable) -> bool:
        """The store has this table: from now on interceptors should serve it. Whether that is news."""
        self.expect(table)
        before, self._published = self._published, self._number
        # Of what it brings, something else may have been told while it was being written, even where all serve it at once.
        self._told = {app: meaning for app, meaning in self._told.items() if self._since.get(app, 0) <= before}
        return self._published != before

    def members(self, interceptors: Iterable[Interceptor]) -> None:
        """These are the pods that exist."""
        known = self._members
        self._known = True
        self._members = {}
        for interceptor in interceptors:
            member = self._members[interceptor.name] = known.get(interceptor.name) or _Member(interceptor)
            member.interceptor = interceptor

    def answered(self, name: str, version: str, *, asked: str) -> bool:
        """A member serves this version; whether that is as new as what was the newest when it was asked."""
        member = self._members.get(name)
        if member is None:
            return False
        member.serves = self._numbers.get(version, 0)
        fresh = member.serves > 0 and member.serves >= self._numbers.get(asked, 0)
        member.failure = "" if fresh else f"serves version {version or '(none)'}"
        return fresh

    def failed(self, name: str, why: str) -> None:
        """A member gave no answer, or no good one."""
        member = self._members.get(name)
        if member is not None:
            member.failure = why

    def behind(self, name: str) -> bool:
        """Whether a member should be asked: it has not said yet that it serves the newest table."""
        member = self._members.get(name)
        return member is not None and member.serves < self._published

    def verdict(self, route: Route) -> Verdict | None:
        """How far a route has come; None for one that is not in the newest table of the store."""
        if self._table is None or self._table.apps.get(route.app) != route:
            return None
        since = self._since[route.app]
        return self._verdict(since) if since <= self._published else None

    def changed(self) -> list[str]:
        """The applications for which something else is true than when this was asked last."""
        by_since = {since: self._verdict(since) for since in set(self._since.values()) if since <= self._published}
        now = {app: _meaning(by_since[since]) for app, since in self._since.items() if since in by_since}
        before, self._told = self._told, now
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
        """A pod that is only starting takes no requests; it reads the newest table before it does."""
        for member in self._members.values():
            if member.interceptor.ready or member.serves:
                yield member


def _said(table: RoutingTable) -> dict[str, object]:
    """What a table says of each application: its route, and which claims it does not get."""
    said: dict[str, object] = dict(table.apps)
    for app, lost in groupby(table.conflicts, key=lambda conflict: conflict.app):
        said[app] = (said[app], frozenset(conflict.claim for conflict in lost))
    return said


def _meaning(verdict: Verdict) -> tuple[bool, bool, tuple[Missing, ...]]:
    return (verdict.total > 0, verdict.pending, verdict.missing)
