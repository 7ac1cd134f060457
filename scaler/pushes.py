"""When a stream pushes `true`. Pure: decides from what is told and the time, and sends nothing itself.

On the edge from inactive to active, and again while requests wait, as a write of KEDA's that failed is not tried again;
never faster than the interval, as each push costs KEDA a write and refreshes the time it counts its cooldown from.
"""

from __future__ import annotations

__all__ = ["Push"]


class Push:
    """The pushes of one stream. At its opening an active application is an edge."""

    __slots__ = ("_edge", "_interval", "_last", "_waiting")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last = float("-inf")
        self._edge = True
        self._waiting = False

    def wake(self) -> None:
        """The application became active, or requests began to wait."""
        self._edge = True

    def due(self, now: float, *, active: bool, held: bool) -> bool:
        """Whether to push now; then it counts as pushed."""
        self._edge = self._edge and active
        if not self._edge and not held:
            self._waiting = False
            return False
        self._waiting = True
        if now < self._last + self._interval:
            return False
        self._edge = False
        self._waiting = held
        self._last = now
        return True

    def next(self) -> float | None:
        """When to ask again; None when only a wake can bring a push."""
        return self._last + self._interval if self._waiting else None
