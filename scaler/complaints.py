"""When to log that a trigger is refused: not each time that KEDA asks, and not what is over in a moment. Pure."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Complaints"]

PATIENCE_SECONDS = 2.0
"""A route that has just been made may come a moment after its ScaledObject."""
AGAIN_SECONDS = 600.0
"""Between two complaints about the same."""
MAX_KEPT = 10_000
"""What is remembered; the oldest is forgotten first. Its text is bounded where it is made."""


class Complaints:
    """One for each thing that stays wrong, every so often. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._due: dict[Hashable, float] = {}
        """When each is to be told, the one that came last at the end."""

    def is_due(self, what: Hashable, now: float) -> bool:
        """Whether to tell it this time."""
        due = self._due.pop(what, now + PATIENCE_SECONDS)
        is_due = due <= now
        self._due[what] = now + AGAIN_SECONDS if is_due else due
        if len(self._due) > MAX_KEPT:
            del self._due[next(iter(self._due))]
        return is_due
