"""From what an object says of the applications that it needs to the field of its route, and the finding about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.finding import MAX_NAMED, Finding
from controller.problem import Problem
from controller.schema.depends import Dependency as Given
from fleet.routing.dependencies import MAX_OF_NAMESPACE, Dependencies, in_words
from fleet.routing.depends import Dependency
from fleet.routing.route import Route

__all__ = ["DEPENDENCIES", "dependency_finding", "depends_on"]

DEPENDENCIES = "Dependencies"
"""Only for objects with dependsOn: whether all of it wakes with the object. Ready does not need it: requests are routed."""

_SHOWN = 100
"""Characters of a name in a message."""


def depends_on(namespace: str, given: Sequence[str | Given] | None) -> tuple[Dependency, ...]:
    """Raises Problem for a name of another namespace: a tenant must not wake what is another's."""
    found = []
    for position, each in enumerate(given or ()):
        one = Given(each) if isinstance(each, str) else each
        if "/" in one.name:
            why = "only applications of the same namespace can be needed, by their name alone"
            raise Problem(f"spec.dependsOn[{position}]", f"{one.name[:_SHOWN]!r}: {why}")
        found.append(Dependency(f"{namespace}/{one.name}", one.optional, one.keep_awake))
    return tuple(found)


def dependency_finding(route: Route | None, dependencies: Dependencies) -> Finding | None:
    """None for an object that needs nothing."""
    if route is None or not route.depends_on:
        return None
    circle, missing = dependencies.circles.get(route.app), dependencies.missing.get(route.app, ())
    if route.app in dependencies.too_many:
        return Finding(
            "False", "TooMany", f"older objects of this namespace have {MAX_OF_NAMESPACE} dependencies, and that is the most"
        )
    if circle is not None:
        return Finding("False", "Circle", f"what these need of each other is left out, for all of them: {in_words(circle)}")
    if missing:
        return Finding("False", "NotFound", f"nothing of the name {_some(missing)} is served in this namespace; it cannot wake")
    woken = [each.app for each in dependencies.needs.get(route.app, ())]
    return Finding(
        "True", "Found", f"wakes with this: {_some(woken)}" if woken else "nothing of it is there, and all is optional"
    )


def _some(apps: Iterable[str]) -> str:
    names = [_name(app) for app in apps]
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _name(app: str) -> str:
    return app.partition("/")[2]
