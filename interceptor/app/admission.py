"""How many requests of an application one backend gets at once. Pure: the time is an argument.

There are two limits. A route may set a ceiling, which applies to every request. Otherwise the target of one replica limits only
requests from the waiting room: a first pod must not get all held requests at once. But if no further replicas start, requests
must not starve because of a number that was meant for scaling, so this limit is raised step by step.
"""

from __future__ import annotations

import math
import sys
from typing import Final

from fleet.defaults import TARGET
from fleet.routing.route import Route

__all__ = ["UNBOUNDED", "Admission"]

UNBOUNDED: Final = sys.maxsize

LONGEST_PATIENCE: Final = 10.0
"""Seconds that the oldest request waits, with backends ready, before the limit is raised: a second or third pod takes as long
to start."""
STEPS: Final = 10
"""Doublings between that moment and the readiness timeout: from one request per backend to a thousand."""
SHORTEST_LOOK: Final = 0.1


class Admission:
    """The limits of one application."""

    __slots__ = ("_base", "_patience", "bound", "ceiling")

    def __init__(self) -> None:
        self.ceiling = self.bound = self._base = UNBOUNDED
        self._patience = LONGEST_PATIENCE

    def update(self, route: Route, *, readiness: float) -> None:
        """Apply a route; `readiness` is how long its requests are held, in seconds."""
        wanted = route.protection.backend_concurrency
        self.ceiling = wanted or UNBOUNDED
        if wanted is None:
            self._base = max(1, math.ceil(route.scaling.concurrency or TARGET))
        else:
            self._base = self.ceiling
        self.bound = self._base
        """A backend with fewer requests than this may get a held one."""
        self._patience = min(readiness / 2, LONGEST_PATIENCE)

    @property
    def look(self) -> float:
        """Seconds between two checks of the oldest request."""
        return max(SHORTEST_LOOK, self._patience / STEPS)

    def press(self, since: float, now: float) -> None:
        """The oldest request has waited since `since`, and backends are ready. Called every `look` seconds.

        The limit doubles as long as a request waits too long. If only overdue requests were admitted, every request would wait
        that long as long as new ones arrive.
        """
        if self._base < self.ceiling and now - since >= self._patience:
            self.bound = min(self.bound * 2, UNBOUNDED)

    def relax(self) -> None:
        """No request waits any more."""
        self.bound = self._base
