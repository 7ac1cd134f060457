"""Which applications a table has wake together, and which could. Pure; bounded, however long its chains are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from fleet.routing.table import RoutingTable

__all__ = ["MOST_REACHED", "Declared"]

MOST_REACHED: Final = 200
"""Applications behind one that are found, the nearest first. What is further away counts as not declared."""
MOST_KEPT: Final = 256
"""Applications of which it is kept what they wake, until there is another table."""


class _Woken(NamedTuple):
    """What wakes with an application."""

    apps: frozenset[str]
    """By its dependencies."""
    services: frozenset[str]
    """Where its requests go: its own Service, its fallback, and those of its rules."""


class Declared:
    """`table` gives the current one, or None before there is one."""

    def __init__(self, table: Callable[[], RoutingTable | None]) -> None:
        self._table = table
        self._known: RoutingTable | None = None
        self._woken: dict[str, _Woken] = {}

    def wakes(self, app: str, other: str) -> bool:
        """Whether requests of the application wake the other one, too: by its dependencies, or because some of them go there."""
        table = self._table()
        if table is None or app not in table.apps:
            return False
        woken = self._woken_by(table, app)
        return other in woken.apps or (other in table.apps and table.apps[other].target.service in woken.services)

    def may_need(self, app: str, other: str) -> bool:
        """Whether the application could name the other one among its dependencies, and does not."""
        table = self._table()
        if table is None or app not in table.apps or other not in table.apps or app in table.dependencies.too_many:
            return False
        is_named = any(each.app == other for each in table.apps[app].depends_on)
        return not is_named and not self.wakes(app, other) and not self.wakes(other, app)

    def _woken_by(self, table: RoutingTable, app: str) -> _Woken:
        if table is not self._known or len(self._woken) >= MOST_KEPT:
            self._known = table
            self._woken.clear()
        found = self._woken.get(app)
        if found is None:
            services = frozenset(target.service for target in table.apps[app].targets if target.service)
            found = self._woken[app] = _Woken(_reached(table, app), services)
        return found


def _reached(table: RoutingTable, app: str) -> frozenset[str]:
    needs = table.dependencies.needs
    found = {app: None}
    for node in (nodes := [app]):
        for each in needs.get(node, ()):
            if each.app not in found:
                found[each.app] = None
                nodes.append(each.app)
        if len(found) > MOST_REACHED:
            break
    return frozenset(nodes[1:])
