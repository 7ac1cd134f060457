"""The findings about applications that wake together: whether all that an object needs is there, and what keeps it awake.

Whether an application is active is what KEDA says of it, so that no request is counted here. When that changes, or the table, the
objects that this is about are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from controller.depends import DEPENDENCIES, dependency_finding
from controller.finding import MAX_NAMED, Finding
from controller.resources import Resource
from fleet.routing.dependencies import Dependencies
from fleet.routing.table import RoutingTable

__all__ = ["NEEDED", "Dependents"]

NEEDED = "Needed"
"""Only for objects that others depend on: whether one of those is active, for which this one stays awake."""
MAX_LOOKED = 100
"""Applications that are looked at for those that keep one awake, the nearest first: a chain may be long."""

_NOTHING = Dependencies({}, {}, {})


class Dependents:
    """`table` is the current one, `is_active` what KEDA says of an application; `on_app` is called with each application whose
    findings may have changed."""

    def __init__(
        self, table: Callable[[], RoutingTable | None], is_active: Callable[[str], bool], on_app: Callable[[str], None]
    ) -> None:
        self._table = table
        self._is_active = is_active
        self._on_app = on_app
        self._known: RoutingTable | None = None
        self._dependencies = _NOTHING
        self._kept: Mapping[str, Sequence[str]] = {}
        """What keeps each application awake."""
        self._active: set[str] = set()

    def findings(self, resource: Resource) -> Mapping[str, Finding]:
        """By condition, without those that have no meaning for the object."""
        self.read()
        app, found = resource.key.app, {}
        self._note(app)
        about = dependency_finding(resource.route, self._dependencies)
        if about is not None:
            found[DEPENDENCIES] = about
        if app in self._kept:
            found[NEEDED] = self._needed(app)
        return found

    def _needed(self, app: str) -> Finding:
        active = [one.partition("/")[2] for one in islice(self._before(app), MAX_LOOKED) if self._is_active(one)]
        if not active:
            return Finding("False", "NoDemand", "no application that needs it is active")
        more = f" and {len(active) - MAX_NAMED} more" if len(active) > MAX_NAMED else ""
        return Finding("True", "AwakeFor", f"awake for {', '.join(active[:MAX_NAMED])}{more}")

    def _before(self, app: str) -> Iterator[str]:
        """All that keep it awake, the nearest first."""
        seen = {app}
        for node in (nodes := [app]):
            for one in self._kept.get(node, ()):
                if one not in seen:
                    seen.add(one)
                    nodes.append(one)
                    yield one

    def _note(self, app: str) -> None:
        """Have what it keeps awake looked at if it has become active, or is no longer."""
        if app not in self._dependencies.needs or self._is_active(app) == (app in self._active):
            return
        self._active ^= {app}
        seen = {app}
        for node in (nodes := [app]):
            for each in self._dependencies.needs.get(node, ()):
                if each.keep_awake and each.app not in seen:
                    seen.add(each.app)
                    nodes.append(each.app)
        for behind in nodes[1:]:
            self._on_app(behind)

    def read(self) -> None:
        """Take what the current table says."""
        table = self._table()
        if table is None or table is self._known:
            return
        before, kept_before = self._dependencies, self._kept
        self._known, self._dependencies = table, table.dependencies
        kept: dict[str, list[str]] = {}
        for app, needed in self._dependencies.needs.items():
            for each in needed:
                if each.keep_awake:
                    kept.setdefault(each.app, []).append(app)
        self._kept = kept
        self._active &= self._dependencies.needs.keys()
        changed = {
            *_changed(before.needs, self._dependencies.needs),
            *_changed(before.missing, self._dependencies.missing),
            *_changed(before.circles, self._dependencies.circles),
            *_changed(kept_before, kept),
        }
        for app in sorted(changed):
            self._on_app(app)


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    return (app for app in {*before, *after} if before.get(app) != after.get(app))
