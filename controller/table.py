"""From all objects to the routing table, and what each object is told of the others. Pure.

An object that is wrong has no route; that is its own affair. Of two objects that claim the same, the older has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES
from controller.resources import Key, Resource
from controller.translate import Problem
from fleet.routing.codec import MAX_ROUTES
from fleet.routing.route import Route
from fleet.routing.table import Conflict, RoutingTable

__all__ = ["Assembly", "Lost", "assemble"]


class Lost(msgspec.Struct, frozen=True):
    """A claim that an object does not get, in words, and who has it."""

    claim: str
    winner: Key


class Assembly(msgspec.Struct, frozen=True):
    """The table, and what concerns single objects."""

    table: RoutingTable
    routes: Mapping[Key, Route]
    """The route of each object that has one in the table."""
    problems: Mapping[Key, Problem]
    lost: Mapping[Key, tuple[Lost, ...]]
    shadowed: Mapping[Key, Key]
    """HTTPScaledObjects beside which an InterceptorRoute of the same name stands in the table, and those."""

    @property
    def conflicted(self) -> frozenset[Key]:
        return frozenset(self.lost) | frozenset(self.shadowed)


def assemble(resources: Iterable[Resource]) -> Assembly:
    """The table of these objects, in whatever order they come."""
    ordered = sorted(resources, key=lambda resource: (resource.meta.created, resource.key))
    problems = {resource.key: resource.problem for resource in ordered if resource.problem is not None}
    valid = {resource.key: resource.route for resource in ordered if resource.route is not None}
    shadowed = {key: _sibling(key) for key in valid if key.kind == HTTP_SCALED_OBJECTS.kind and _sibling(key) in valid}
    routes = {key: route for key, route in valid.items() if key not in shadowed}
    for key in [*routes][MAX_ROUTES:]:
        problems[key] = Problem("metadata", f"{MAX_ROUTES} older objects fill the routing table")
        del routes[key]
    table = RoutingTable(routes.values())
    owners = {route.app: key for key, route in routes.items()}
    return Assembly(table, routes, problems, _lost(table.conflicts, owners), shadowed)


def _sibling(key: Key) -> Key:
    return Key(INTERCEPTOR_ROUTES.kind, key.namespace, key.name)


def _lost(conflicts: Iterable[Conflict], owners: Mapping[str, Key]) -> dict[Key, tuple[Lost, ...]]:
    return {
        owners[app]: tuple(Lost(str(conflict.claim), owners[conflict.winner]) for conflict in group)
        for app, group in groupby(conflicts, key=lambda conflict: conflict.app)
    }
