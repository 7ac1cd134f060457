"""When to log that a trigger is refused: not at each call of KEDA, and not for a problem that is over in a moment. Pure."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["LogLimit"]

PATIENCE_SECONDS = 2.0
"""Seconds before the first log line: a new route may arrive a moment after its ScaledObject."""
AGAIN_SECONDS = 600.0
"""Seconds between two log lines about the same problem."""
MAX_KEPT = 10_000
"""Maximum number of remembered problems; the oldest is forgotten first. The texts are bounded by the caller."""


class LogLimit:
    """Rate limit for log lines: one per problem that persists, repeated after AGAIN_SECONDS. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._due: dict[Hashable, float] = {}
        """When each problem is to be logged; ordered by last occurrence."""

    def is_due(self, what: Hashable, now: float) -> bool:
        """Whether to log it this time."""
        due = self._due.pop(what, now + PATIENCE_SECONDS)
        is_due = due <= now
        self._due[what] = now + AGAIN_SECONDS if is_due else due
        if len(self._due) > MAX_KEPT:
            del self._due[next(iter(self._due))]
        return is_due
