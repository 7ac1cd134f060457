"""Puts the objects that are previews of others into the routes of their bases. Pure.

Such an object has no entry of its own in the routing table, and its requests are treated as its base says. What is wrong with one
is its own problem, and changes nothing for its base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from controller.problem import Problem
from controller.resources import Asked, Key
from fleet.routing.preview_index import number_of_hosts
from fleet.routing.previews import MAX_COPIES, Copy, Previews
from fleet.routing.route import Route, Target

__all__ = ["Placed", "place_copies"]

MAX_COPY_HOSTS = 100_000
"""Hosts of all previews together: each is some hundred bytes in every interceptor."""


class Placed(msgspec.Struct, frozen=True):
    """What comes of it."""

    routes: Mapping[Key, Route]
    """Of all objects that have an entry of their own."""
    copies: frozenset[Key]
    """Objects that are in the entry of another one."""
    problems: Mapping[Key, Problem]


def place_copies(routes: Mapping[Key, Route], copies: Iterable[tuple[Key, Asked]]) -> Placed:
    """`copies` are the oldest first: of two of the same name it has it."""
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
        base = bases.get(f"{key.namespace}/{said.base}")
        if base is None:
            problems[key] = Problem("spec.previewOf.base", f"nothing of the name {said.base} is served in this namespace")
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
            others[said.name] = (key, Copy(said.name, asked.route.app, target, asked.route.created))
    whole = {key: _with_copies(routes[key], [copy for _, copy in named.values()]) for key, named in found.items()}
    placed = frozenset(key for named in found.values() for key, _ in named.values())
    return Placed({**routes, **whole}, placed, problems)


def _target(base: Target, own: Target) -> Target:
    """The place of the copy, spoken to as the base is, and reached by its Service or past it as the base is."""
    direct = base.direct if own.direct is None and own.service else own.direct
    return msgspec.structs.replace(own, app_protocol=base.app_protocol, tls=base.tls, direct=direct)


def _with_copies(route: Route, copies: list[Copy]) -> Route:
    previews = route.previews or Previews()
    return msgspec.structs.replace(route, previews=msgspec.structs.replace(previews, copies=tuple(copies)))
