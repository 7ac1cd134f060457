"""How many requests of an application one backend is given at once. Pure: the caller brings the time.

There are two bounds. A route may set a ceiling, which holds for every request. Otherwise what one replica should carry
bounds only what comes out of the waiting room: a first pod must not meet the whole crowd, but where more replicas never come
the crowd must not starve behind a number that was meant for scaling. So that bound yields.
"""

from __future__ import annotations

import math
import sys

from fleet.defaults import TARGET
from fleet.routing.route import Route

__all__ = ["UNBOUNDED", "Admission"]

UNBOUNDED = sys.maxsize

LONGEST_PATIENCE = 10.0
"""Seconds that the first in line waits, with backends up, before the bound yields: a second or third pod takes as long."""
STEPS = 10
"""Doublings that fit between the end of patience and the readiness timeout: from one request per backend to a thousand."""
SHORTEST_LOOK = 0.1


class Admission:
    """The bounds of one application."""

    __slots__ = ("_base", "_patience", "bound", "ceiling")

    def __init__(self) -> None:
        self.ceiling = self.bound = self._base = UNBOUNDED
        self._patience = LONGEST_PATIENCE

    def update(self, route: Route, *, readiness: float) -> None:
        """Take over a route; `readiness` is how long its requests are held, in seconds."""
        wanted = route.protection.backend_concurrency
        self.ceiling = wanted or UNBOUNDED
        if wanted is None:
            self._base = max(1, math.ceil(route.scaling.concurrency or TARGET))
        else:
            self._base = self.ceiling
        self.bound = self._base
        """A backend with fewer requests than this may be given one that waited."""
        self._patience = min(readiness / 2, LONGEST_PATIENCE)

    @property
    def look(self) -> float:
        """Seconds between two looks at who is first in line."""
        return max(SHORTEST_LOOK, self._patience / STEPS)

    def press(self, since: float, now: float) -> None:
        """The first in line has waited since then, and backends are up. Called every `look` seconds.

        The bound doubles for as long as somebody waits too long. To let only those through who are overdue would make waiting
        that long the rule: the line would never end, and everybody who comes would stand in it.
        """
        if self._base < self.ceiling and now - since >= self._patience:
            self.bound = min(self.bound * 2, UNBOUNDED)

    def relax(self) -> None:
        """Nobody waits any more."""
        self.bound = self._base
