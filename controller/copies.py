"""Puts the objects that are previews of others into the routes of their bases. Pure.

Such an object has no entry of its own in the routing table, and its requests are treated as its base says. What is wrong with one
is its own problem, and changes nothing for its base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS
from controller.problem import Problem
from controller.resources import Asked, Key
from controller.schema.previews import PreviewOf
from fleet.routing.preview_index import number_of_hosts
from fleet.routing.previews import MAX_COPIES, Copy, Previews
from fleet.routing.route import Route, Target
from fleet.routing.table import RoutingTable

__all__ = ["NO_GRANTS", "Grant", "Grants", "Placed", "place_copies"]

MAX_COPY_HOSTS = 100_000
"""Hosts of all previews together: each is some hundred bytes in every interceptor."""


class Grant(msgspec.Struct, frozen=True):
    """The status of a Preview says that an object of another namespace is its copy."""

    base: str
    """The application, "namespace/name", in the namespace of the Preview."""
    name: str
    """What requests choose the copy by."""


Grants = Mapping[tuple[str, str], Grant]
"""By the application of the copy and the uid of the Preview."""
NO_GRANTS: Grants = MappingProxyType({})


class Placed(msgspec.Struct, frozen=True):
    """What comes of it."""

    routes: Mapping[Key, Route]
    """Of all objects that have an entry of their own."""
    copies: frozenset[Key]
    """Objects that are in the entry of another one."""
    problems: Mapping[Key, Problem]


def place_copies(
    routes: Mapping[Key, Route],
    copies: Iterable[tuple[Key, Asked]],
    grants: Grants | None = NO_GRANTS,
    before: RoutingTable | None = None,
) -> Placed:
    """`copies` are the oldest first: of two of the same name it has it. While `grants` are not known (None), copies in other
    namespaces stay as they are in `before`, the table that is served."""
    bases = {route.app: key for key, route in routes.items()}
    found: dict[Key, dict[str, tuple[Key, Copy]]] = {
        key: {} for key, route in routes.items() if route.previews is not None and route.previews.copies
    }  # also those of a served route, whose copies may be gone
    problems: dict[Key, Problem] = {}
    each: dict[Key, int] = {}
    left = MAX_COPY_HOSTS
    for key, asked in copies:
        said = asked.preview_of
        if said is None:
            continue
        namespace = said.namespace or key.namespace
        if namespace != key.namespace and not _is_granted(key, said, grants, before):
            why = f"no Preview of namespace {namespace} says in its status that this object is its copy"
            problems[key] = Problem("spec.previewOf.namespace", why)
            continue
        base = bases.get(f"{namespace}/{said.base}")
        if base is None:
            where = "in this namespace" if namespace == key.namespace else f"in namespace {namespace}"
            problems[key] = Problem("spec.previewOf.base", f"nothing of the name {said.base} is served {where}")
            continue
        others = found.setdefault(base, {})
        if base not in each:
            each[base] = number_of_hosts(routes[base])
        if said.name in others:
            problems[key] = Problem("spec.previewOf.name", f"{said.name} is already {others[said.name][0]}")
        elif len(others) >= MAX_COPIES:
            problems[key] = Problem("spec.previewOf.base", f"{said.base} has {MAX_COPIES} older previews, and that is the most")
        elif each[base] > left:
            reason = f"it has {each[base]} hosts by those of {said.base}; all previews together have {MAX_COPY_HOSTS} at most"
            problems[key] = Problem("spec.previewOf.base", reason)
        else:
            left -= each[base]
            target = _target(routes[base].target, asked.route.target)
            elsewhere = namespace != key.namespace
            others[said.name] = (key, Copy(said.name, asked.route.app, target, asked.route.created, elsewhere))
    whole = {key: _with_copies(routes[key], [copy for _, copy in named.values()]) for key, named in found.items()}
    placed = frozenset(key for named in found.values() for key, _ in named.values())
    return Placed({**routes, **whole}, placed, problems)


def _is_granted(key: Key, said: PreviewOf, grants: Grants | None, before: RoutingTable | None) -> bool:
    """Whether an object is a preview of a base in another namespace: both sides have to say so, as anybody may write either."""
    if key.kind != HTTP_SCALED_OBJECTS.kind:
        return False
    base = f"{said.namespace}/{said.base}"
    if grants is not None:
        return grants.get((key.app, said.uid or "")) == Grant(base, said.name)
    served = None if before is None else before.apps.get(base)
    copies = () if served is None or served.previews is None else served.previews.copies
    return any(copy.elsewhere and (copy.app, copy.name) == (key.app, said.name) for copy in copies)


def _target(base: Target, own: Target) -> Target:
    """The place of the copy, spoken to as the base is, and reached by its Service or past it as the base is."""
    direct = base.direct if own.direct is None and own.service else own.direct
    return msgspec.structs.replace(own, app_protocol=base.app_protocol, tls=base.tls, direct=direct)


def _with_copies(route: Route, copies: list[Copy]) -> Route:
    previews = route.previews or Previews()
    return msgspec.structs.replace(route, previews=msgspec.structs.replace(previews, copies=tuple(copies)))
