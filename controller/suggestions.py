"""The finding about a dependency that an object does not declare, and that wakes suggest. What was seen is known to one term; a
finding of an earlier one stays until enough was seen anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.finding import Finding
from controller.resources import Resource
from controller.schema.common import Condition
from fleet.demand.companions import Companions
from fleet.demand.suggestion import in_words, names_in
from fleet.events.lifecycle import Kind
from fleet.routing.depends import Dependency
from fleet.routing.table import RoutingTable
from fleet.routing.together import Declared

__all__ = ["SUGGESTED", "Suggestions"]

SUGGESTED = "DependencySuggested"
"""Only for objects that seem to call others when they wake. Ready has nothing to do with it."""
LATE_SECONDS = 3.0
"""How late a wake is seen: interceptors report requests that have waited for two seconds, and look once a second."""
FIELD = "dependsOn"


class Suggestions:
    """`table` is the current one; `on_app` is called with each application whose finding may have changed."""

    def __init__(self, table: Callable[[], RoutingTable | None], on_app: Callable[[str], None]) -> None:
        self._table = table
        self._on_app = on_app
        self._declared = Declared(table)
        self._companions = Companions(self._declared, on_app, late=LATE_SECONDS)
        self._needs: Mapping[str, tuple[Dependency, ...]] = {}

    def heard(self, kind: Kind, app: str, now: float, *, at: float, asked: bool) -> None:
        """Of its wakes: when one began, and whether because of a request."""
        if kind is Kind.WAKE:
            self._companions.woke(app, now, at=at, asked=asked)
        elif kind is Kind.READY:
            self._companions.ready(app, now)
        elif kind is Kind.SLEEP:
            self._companions.slept(app, now)

    def forget(self, app: str) -> None:
        self._companions.forget(app)

    def read(self) -> None:
        """There may be another table: what it declares is not suggested."""
        table = self._table()
        if table is not None and table.dependencies.needs != self._needs:
            self._needs = table.dependencies.needs
            for app in [*self._companions.suggesting()]:
                self._on_app(app)

    def findings(self, resource: Resource) -> Mapping[str, Finding]:
        """By condition; none without a suggestion."""
        app = resource.key.app
        if found := self._companions.suggestions(app):
            reason = "WokeTogether" if all(each.together for each in found) else "WokeAfter"
            return {SUGGESTED: Finding("True", reason, in_words(app, found, FIELD))}
        before = resource.conditions.get(SUGGESTED)
        if before is None or self._companions.knows(app) or not self._holds(resource, before):
            return {}
        return {SUGGESTED: Finding(before.status, before.reason, before.message)}

    def _holds(self, resource: Resource, before: Condition) -> bool:
        """Whether all that it suggests is still there and not declared."""
        names = names_in(before.message)
        apps = (f"{resource.meta.namespace}/{name}" for name in names)
        return self._table() is None or (bool(names) and all(self._declared.may_need(resource.key.app, app) for app in apps))
