"""From all objects to the routing table, and to the conflicts that each object is told about. Pure.

An invalid object has no route, which affects no other object. Of two objects with the same claim, the older gets it. Bodies and
authorities from ConfigMaps are inserted here; while an object's ConfigMaps are not read yet, its previous route is kept. Ports
are given out here, as leases say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

import msgspec

from controller.authorities import AuthorityReference, authority_bytes, with_authorities
from controller.autoscalers import Workload, workload_of
from controller.bodies import SMALL_ANSWER_BYTES, Absent, Bodies, are_known, filled, without_bodies
from controller.copies import NO_GRANTS, Grants, place_copies
from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES
from controller.portleases.assignment import NO_LEASES, PortView, assign
from controller.problem import Problem
from controller.resources import Asked, Key, Resource
from controller.scaledobject import SKIP
from fleet.routing.check_answers import answer_bytes
from fleet.routing.claims import claims_of
from fleet.routing.codec import MAX_ROUTES
from fleet.routing.port_index import PortKey, port_claims
from fleet.routing.route import Route
from fleet.routing.table import Conflict, RoutingTable

__all__ = ["MAX_TABLE_ANSWER_BYTES", "MAX_TABLE_CA_BYTES", "Assembly", "Lost", "assemble"]

MAX_TABLE_ANSWER_BYTES = 16 << 20
"""Maximum bytes of the bodies of all routes: every interceptor keeps them in memory, and every change of the table writes them
again."""
MAX_TABLE_CA_BYTES = 16 << 20
"""Maximum bytes of the authorities in all routes, for the same reason. Enough for one certificate in each of 10,000 routes."""


class Lost(msgspec.Struct, frozen=True):
    """A claim that an object does not get, as text, and the object that has it."""

    claim: str
    winner: Key


class Assembly(msgspec.Struct, frozen=True):
    """The table, and the results for single objects."""

    table: RoutingTable
    routes: Mapping[Key, Route]
    """The route of each object that has one in the table."""
    asked: Mapping[Key, Asked]
    """What each of these routes was made of; without objects whose ConfigMaps were not read yet, or make them invalid."""
    missing: Mapping[Key, tuple[str, ...]]
    """Answers whose bodies are not available."""
    problems: Mapping[Key, Problem]
    lost: Mapping[Key, tuple[Lost, ...]]
    shadowed: Mapping[Key, Key]
    """HTTPScaledObjects that are replaced in the table by an InterceptorRoute of the same name, and that InterceptorRoute."""

    unserved: frozenset[Key]
    """Objects that get none of their claims."""
    outdone: Mapping[Key, Key]
    """HTTPScaledObjects whose workload an older one scales, and that older one."""
    workloads: Mapping[Key, Workload]
    """The workload that each HTTPScaledObject wants to scale."""
    entries: Mapping[PortKey, frozenset[str]] = MappingProxyType({})
    """The Services that each port of the table belongs into, "namespace/name"; "" for all of them."""
    waits: Mapping[Key, tuple[str, ...]] = MappingProxyType({})
    """Ports that objects do not have yet, and why."""

    @property
    def conflicted(self) -> frozenset[Key]:
        return frozenset(self.lost) | frozenset(self.shadowed) | frozenset(self.outdone)


def assemble(
    resources: Iterable[Resource],
    bodies: Bodies = MappingProxyType({}),
    before: RoutingTable | None = None,
    authorities: Bodies = MappingProxyType({}),
    ports: PortView = NO_LEASES,
    *,
    grants: Grants | None = NO_GRANTS,
) -> Assembly:
    """The table of these objects, whose order does not matter. `before` is the table that is served now."""
    ordered = sorted(resources, key=lambda resource: (resource.meta.created, resource.key))
    problems = {resource.key: resource.problem for resource in ordered if resource.problem is not None}
    valid = {resource.key: wanted for resource in ordered if (wanted := resource.asked) is not None}
    shadowed = {key: _sibling(key) for key in valid if key.kind == HTTP_SCALED_OBJECTS.kind and _sibling(key) in valid}
    asked = {key: wanted for key, wanted in valid.items() if key not in shadowed}
    for key in [*asked][MAX_ROUTES:]:
        problems[key] = Problem("metadata", f"{MAX_ROUTES} older objects fill the routing table")
        del asked[key]
    filling = _Filling(bodies, authorities, before)
    made = {key: filling.fill(key, wanted) for key, wanted in asked.items() if wanted.preview_of is None}
    giving = _Giving(ports, before)
    uids = {resource.key: resource.meta.uid for resource in ordered}
    entries = {key: giving.given(key, uids[key], asked[key], route) for key, route in made.items() if route is not None}
    copies = [(key, wanted) for key, wanted in asked.items() if wanted.preview_of is not None]
    placed = place_copies(entries, copies, grants, before)
    table = RoutingTable(placed.routes.values())
    routes = {**placed.routes, **{key: table.apps[key.app] for key in placed.copies}}
    owners = {route.app: key for key, route in routes.items()}
    problems |= {**filling.problems, **placed.problems}
    unsettled = {*filling.pending, *filling.problems, *placed.problems}
    settled = {key: wanted for key, wanted in asked.items() if key not in unsettled}
    lost = giving.with_lost(_lost(table.conflicts, owners))
    unserved = frozenset((*_unserved(table, owners), *giving.unserved))
    outdone = _outdone(resource for resource in ordered if resource.key in valid and resource.key not in unserved)
    workloads = {resource.key: workload for resource in ordered if (workload := workload_of(resource)) is not None}
    return Assembly(
        table,
        routes,
        settled,
        filling.missing,
        problems,
        lost,
        shadowed,
        unserved,
        outdone,
        workloads,
        giving.entries(table),
        giving.waits,
    )


class _Giving:
    """Gives out ports, the oldest route first, as long as there are fewer than an interceptor may have."""

    def __init__(self, view: PortView, before: RoutingTable | None) -> None:
        self._view, self._before = view, before
        self._given: set[PortKey] = set()
        self._of_namespace: dict[str, set[PortKey]] = {}
        for lease in (view.leases or {}).values():
            self._of_namespace.setdefault(lease.namespace, set()).add(lease.port)
        self._entries: dict[tuple[str, PortKey], set[str]] = {}
        """By application, which may have a port several times, by SNI."""
        self.waits: dict[Key, tuple[str, ...]] = {}
        self._lost: dict[Key, tuple[Lost, ...]] = {}
        self.unserved: set[Key] = set()
        """Objects that are about ports alone, and that others have them all of."""

    def given(self, key: Key, uid: str, asked: Asked, route: Route) -> Route:
        if not asked.ports:
            return route
        if self._view.is_on and self._view.leases is None:
            return self._kept(key, asked, route)
        found = assign(key, uid, asked.ports, self._view)
        kept, waits = [], [*found.waits]
        for port, (number, entry) in zip(found.ports, found.entries, strict=True):
            if number not in self._given and self._count(number) >= self._view.most:
                most = f"the interceptors have {self._view.most} ports of older objects, and that is the most"
                waits.append(f"{number}: {most}")
                continue
            mine = self._of_namespace.setdefault(key.namespace, set())
            if number not in mine and len(mine) >= self._view.most_of_namespace:
                waits.append(f"{number}: namespace {key.namespace} has {len(mine)} ports already, and that is the most")
                continue
            mine.add(number)
            self._given.add(number)
            self._entries.setdefault((route.app, number), set()).add(entry)
            kept.append(port)
        if waits:
            self.waits[key] = tuple(waits)
        if found.lost:
            self._lost[key] = tuple(Lost(str(port), winner) for port, winner in found.lost)
            if not kept and not route.rules:
                self.unserved.add(key)
        return msgspec.structs.replace(route, ports=tuple(kept))

    def _kept(self, key: Key, asked: Asked, route: Route) -> Route:
        """Without leases nobody knows whose a number is: what is served stays as it is, and nothing is given."""
        served = None if self._before is None else self._before.apps.get(route.app)
        fixed = {(one.port.protocol, one.port.port) for one in asked.ports if not one.lease}
        leased = {one.port.protocol for one in asked.ports if one.lease}
        ports = [] if served is None else [
            port for port in served.ports if (port.protocol, port.port) in fixed or port.protocol in leased
        ]  # fmt: skip
        if len(ports) < len(asked.ports):
            self.waits[key] = ("the leases were not read yet",)
        return msgspec.structs.replace(route, ports=tuple(ports))

    def _count(self, number: PortKey) -> int:
        """Of the ports that are given before this one: those that are leased come before numbers, however old."""
        leases = self._view.leases or {}
        return len(self._given) if number in leases else len(self._given | leases.keys())

    def with_lost(self, lost: Mapping[Key, tuple[Lost, ...]]) -> Mapping[Key, tuple[Lost, ...]]:
        return {key: (*lost.get(key, ()), *self._lost.get(key, ())) for key in lost.keys() | self._lost.keys()}

    def entries(self, table: RoutingTable) -> Mapping[PortKey, frozenset[str]]:
        """Those that the owners of each port of the table have chosen."""
        return {
            key: frozenset().union(*(self._entries.get((owner.app, key), ()) for owner in owners))
            for key, owners in table.ports.items()
        }


class _Filling:
    """Inserts bodies and authorities into routes, the oldest route first, as long as there is room."""

    def __init__(self, bodies: Bodies, authorities: Bodies, before: RoutingTable | None) -> None:
        self._bodies = bodies
        self._authorities = authorities
        self._before = before
        self._left = MAX_TABLE_ANSWER_BYTES
        self._left_for_authorities = MAX_TABLE_CA_BYTES
        self.missing: dict[Key, tuple[str, ...]] = {}
        self.pending: set[Key] = set()
        self.problems: dict[Key, Problem] = {}
        """Objects that are invalid by what ConfigMaps hold."""

    def fill(self, key: Key, asked: Asked) -> Route | None:
        route, references, authorities = asked.route, asked.references, asked.authorities
        # Without a previous table there is nothing to keep: a route with some of its answers is better than none. But a route
        # without its authorities is another one.
        served = None if self._before is None else self._before.apps.get(route.app)
        if self._before is not None and not are_known(references, self._bodies):
            self.pending.add(key)
            return served
        if not are_known(authorities, self._authorities) or (served is not None and self._cannot_tell(authorities)):
            self.pending.add(key)
            return served
        try:
            route = self._believing(route, authorities)
        except Problem as problem:
            self.problems[key] = problem
            return None
        route, missing = filled(route, references, self._bodies)
        size = answer_bytes(route)
        if size > max(self._left, SMALL_ANSWER_BYTES):
            route, missing = without_bodies(route)
            size = answer_bytes(route)
        self._left -= size
        if missing:
            self.missing[key] = missing
        return route

    def _cannot_tell(self, authorities: Sequence[AuthorityReference]) -> bool:
        """Whether the API server could not be asked what one of their ConfigMaps holds."""
        found = (self._authorities.get(reference.config_map) for reference in authorities)
        return any(isinstance(each, Absent) and each.temporary for each in found)

    def _believing(self, route: Route, authorities: Sequence[AuthorityReference]) -> Route:
        """Raises Problem."""
        whole = with_authorities(route, authorities, self._authorities)
        size = authority_bytes(whole)
        if size > self._left_for_authorities:
            raise Problem("spec", "the authorities (tls) of older objects leave no room in the routing table")
        self._left_for_authorities -= size
        return whole


def _sibling(key: Key) -> Key:
    return Key(INTERCEPTOR_ROUTES.kind, key.namespace, key.name)


def _unserved(table: RoutingTable, owners: Mapping[str, Key]) -> Iterator[Key]:
    for app, conflicts in groupby(table.conflicts, key=lambda conflict: conflict.app):
        route = table.apps[app]
        of_ports = {claim for claim, _ in port_claims(route.ports)}
        claims = {*claims_of(route.rules), *of_ports}
        if claims and claims <= {conflict.claim for conflict in conflicts}:
            yield owners[app]


def _outdone(ordered: Iterable[Resource]) -> dict[Key, Key]:
    """HTTPScaledObjects whose workload an older one has; `ordered` is the oldest first."""
    holders: dict[Workload, Key] = {}
    outdone: dict[Key, Key] = {}
    for resource in ordered:
        workload = workload_of(resource)
        if workload is None or resource.meta.deleting or resource.meta.annotated(SKIP):
            continue
        holder = holders.setdefault(workload, resource.key)
        if holder != resource.key:
            outdone[resource.key] = holder
    return outdone


def _lost(conflicts: Iterable[Conflict], owners: Mapping[str, Key]) -> dict[Key, tuple[Lost, ...]]:
    lost: dict[Key, tuple[Lost, ...]] = {}
    for app, group in groupby(conflicts, key=lambda conflict: conflict.app):
        found = tuple(Lost(str(conflict.claim), owners[conflict.winner]) for conflict in group)
        lost[owners[app]] = (*lost.get(owners[app], ()), *found)
    return lost
