"""What is known of replicas that keep an application awake after their answers, and the finding about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import time

from controller.finding import Finding
from controller.resources import Resource
from fleet.demand.busy import Leases

__all__ = ["Busyness"]

LATE_SECONDS = 1.0
"""Seconds after the end of a lease when the object is looked at again: scalers count in rounds."""


class Busyness:
    """`on_app` is called with each application whose finding may have changed, and `later` with one to ask about again after
    some seconds."""

    def __init__(
        self,
        leases: Callable[[], Leases],
        *,
        on_app: Callable[[str], None],
        later: Callable[[Resource, float], None],
        wall: Callable[[], float] = time,
    ) -> None:
        self._leases = leases
        self._on_app = on_app
        self._later = later
        self._wall = wall
        self._answered: frozenset[str] = frozenset()
        self._called: Mapping[str, object] = {}

    def on_answers(self, apps: Iterable[str]) -> None:
        """The applications that interceptors report now."""
        before, self._answered = self._answered, frozenset(apps)
        self._changed(before ^ self._answered)

    def on_leases(self, leases: Leases) -> None:
        """The leases by calls have changed."""
        before, self._called = self._called, leases
        self._changed({app for app in {*before, *leases} if before.get(app) != leases.get(app)})

    def _changed(self, apps: Iterable[str]) -> None:
        for app in sorted(apps):
            self._on_app(app)

    def finding(self, resource: Resource) -> Finding | None:
        """None for an object that does not permit it. Without numbers and times, which change with every renewal."""
        route = resource.route
        if route is None or not route.scaling.max_busy:
            return None
        now, app = self._wall(), resource.key.app
        ends = [end for end in self._leases().get(app, {}).values() if end > now]
        if ends:
            self._later(resource, max(ends) - now + LATE_SECONDS)
        said = [
            words
            for words, holds in (("after an answer (Weir-Keep-Awake)", app in self._answered), ("by its own call", bool(ends)))
            if holds
        ]
        if not said:
            return Finding("False", "NoLease", "no replica keeps it awake without requests")
        return Finding("True", "KeptAwake", f"a replica works on and keeps it awake: {', and one '.join(said)}")
