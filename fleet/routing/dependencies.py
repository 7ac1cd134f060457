"""Which application of a table wakes which others, and which of these wishes are refused. Pure; linear in the number of them.

Refused are those that close a circle, whichever of the routes came last: all dependencies between the applications of a circle
are left out, so that the result does not depend on the order of changes. The rest of these routes is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from fleet.routing.depends import Dependency
from fleet.routing.route import Route

__all__ = ["MAX_OF_NAMESPACE", "Dependencies", "circles_of", "dependencies_of", "in_words", "words_of"]

MAX_OF_NAMESPACE: Final = 20_000
"""Dependencies of all applications of one namespace, copies included. Scalers walk over them in milliseconds."""
_ENDS: Final = 5
"""Names at either end of a longer circle that are told."""
_MOST_NAMED: Final = 20
"""Names in other words."""


class Dependencies(NamedTuple):
    """Each by application, without those that have none."""

    needs: Mapping[str, tuple[Dependency, ...]]
    """What wakes with it: applications that exist, of which no one leads back to it."""
    missing: Mapping[str, tuple[str, ...]]
    """What it names and there is not, without the optional."""
    circles: Mapping[str, tuple[str, ...]]
    """For an application in a circle: such a circle, which begins and ends with the same application."""
    too_many: frozenset[str] = frozenset()
    """Applications whose dependencies are left out, because older ones of the namespace have the most that there can be."""


def in_words(circle: Sequence[str]) -> str:
    """A circle, for people: "api -> db -> api". All are in one namespace."""
    names = [app.partition("/")[2] for app in circle]
    left = len(names) - 2 * _ENDS
    return " -> ".join(names if left <= 0 else [*names[:_ENDS], f"({left} more)", *names[-_ENDS:]])


def words_of(found: Dependencies, app: str) -> Iterator[str]:
    """What an application wakes, and what it wakes for, for `weir explain`."""
    woken = _behind({one: [each.app for each in named] for one, named in found.needs.items()}, app)
    if woken:
        yield f"wakes together with it: {_some(woken)}"
    if missing := found.missing.get(app):
        yield f"cannot wake with it, because there is no such application: {_some(missing)}"
    if circle := found.circles.get(app):
        yield f"dependencies in a circle are left out: {in_words(circle)}"
    reversed_: dict[str, list[str]] = {}
    for one, named in found.needs.items():
        for each in named:
            reversed_.setdefault(each.app, []).append(one)
    if dependents := _behind(reversed_, app):
        yield f"also wakes for: {_some(dependents)}"


def _behind(edges: Mapping[str, Sequence[str]], start: str) -> Sequence[str]:
    """All that is reached, the nearest first."""
    found = {start: None}
    for node in (nodes := [start]):
        for each in edges.get(node, ()):
            if each not in found:
                found[each] = None
                nodes.append(each)
    return nodes[1:]


def _some(apps: Sequence[str]) -> str:
    more = len(apps) - _MOST_NAMED
    return ", ".join(apps[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def dependencies_of(apps: Mapping[str, Route], names: Mapping[str, Mapping[bytes, str]]) -> Dependencies:
    """Those of all applications. `names` are the copies of each base. A copy has the dependencies of its base; of these it has
    the copies of the same name, where there are."""
    wanted: dict[str, tuple[Dependency, ...]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    if any(route.depends_on for route in apps.values()):
        copies = _Copies(names)
        for app, route in apps.items():
            if route.depends_on:
                wanted[app] = tuple(copies.of_same_name(app, route.depends_on))
    too_many = _beyond(wanted)
    for app in too_many:
        del wanted[app]
    for app, named in wanted.items():
        absent = tuple(each.app for each in named if each.app not in apps and not each.optional)
        if absent:
            missing[app] = absent
    there = {app: tuple(each for each in named if each.app in apps) for app, named in wanted.items()}
    group, circles = circles_of({app: [each.app for each in named] for app, named in there.items()})
    needs = {
        app: kept
        for app, named in there.items()
        if (kept := tuple(each for each in named if app not in group or group.get(each.app) != group[app]))
    }
    return Dependencies(needs, missing, circles, too_many)


def _beyond(wanted: Mapping[str, Sequence[Dependency]]) -> frozenset[str]:
    """Those that have no room in their namespace; the first ones have it first."""
    counts: dict[str, int] = {}
    beyond = []
    for app, named in wanted.items():
        namespace = app.partition("/")[0]
        count = counts.get(namespace, 0) + len(named)
        if count > MAX_OF_NAMESPACE:
            beyond.append(app)
        else:
            counts[namespace] = count
    return frozenset(beyond)


class _Copies:
    """The copies, by base and name."""

    def __init__(self, names: Mapping[str, Mapping[bytes, str]]) -> None:
        self._names = names
        self._name_of = {copy: name for names in self._names.values() for name, copy in names.items()}

    def of_same_name(self, app: str, named: Iterable[Dependency]) -> Iterator[Dependency]:
        name = self._name_of.get(app)
        for each in named:
            copy = None if name is None else self._names.get(each.app, {}).get(name)
            yield each if copy is None else msgspec.structs.replace(each, app=copy)


def circles_of(edges: Mapping[str, Sequence[str]]) -> tuple[Mapping[str, int], Mapping[str, tuple[str, ...]]]:
    """For each node that is in a circle: the number of its group, the nodes that are in circles with each other; and one circle
    of that group."""
    group: dict[str, int] = {}
    circles: dict[str, tuple[str, ...]] = {}
    for number, nodes in enumerate(_components(edges)):
        inside = set(nodes)
        if len(nodes) == 1 and nodes[0] not in edges.get(nodes[0], ()):
            continue
        circle = _walk(min(nodes), edges, inside)
        for node in nodes:
            group[node] = number
            circles[node] = circle
    return group, circles


def _walk(start: str, edges: Mapping[str, Sequence[str]], inside: set[str]) -> tuple[str, ...]:
    """From a node of a component along its edges until a node is there twice."""
    path: dict[str, int] = {}
    node = start
    while node not in path:
        path[node] = len(path)
        node = next(each for each in edges[node] if each in inside)
    return (*[*path][path[node] :], node)


def _components(edges: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """The strongly connected components (Tarjan 1972), without recursion, as a chain may be long."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    open_: set[str] = set()
    for root in edges:
        if root in order:
            continue
        work = [(root, iter(edges[root]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        open_.add(root)
        while work:
            node, following = work[-1]
            for each in following:
                if each not in order:
                    order[each] = low[each] = len(order)
                    stack.append(each)
                    open_.add(each)
                    work.append((each, iter(edges.get(each, ()))))
                    break
                if each in open_:
                    low[node] = min(low[node], order[each])
            else:
                work.pop()
                if work:
                    before = work[-1][0]
                    low[before] = min(low[before], low[node])
                if low[node] == order[node]:
                    component = [stack.pop()]
                    while component[-1] != node:
                        component.append(stack.pop())
                    open_.difference_update(component)
                    yield component
