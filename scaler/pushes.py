"""When a StreamIsActive stream pushes `true`. Pure: decides from state and time, and sends nothing itself.

It pushes when the application becomes active, and repeatedly while requests are held, because KEDA does not retry a failed write;
never more often than the interval, because each push costs KEDA a write and restarts its cooldown.
"""

from __future__ import annotations

__all__ = ["Push"]


class Push:
    """The pushes of one stream. An application that is active when the stream opens is pushed."""

    __slots__ = ("_edge", "_interval", "_last", "_waiting")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last = float("-inf")
        self._edge = True
        self._waiting = False

    def wake(self) -> None:
        """The application became active, or its first request is held."""
        self._edge = True

    def due(self, now: float, *, active: bool, held: bool) -> bool:
        """Whether to push now; if so, it counts as pushed."""
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
        """When to ask again; None when only a wake can cause a push."""
        return self._last + self._interval if self._waiting else None
