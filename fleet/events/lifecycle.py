"""When an application wakes, is ready, fails to wake and sleeps, from what is known of it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator

__all__ = ["Kind", "Lifecycle", "Told"]


class Kind(enum.Enum):
    """What happened; the value is the end of the event's type."""

    WAKE = "wake"
    """It was asleep, and is to have replicas."""
    READY = "ready"
    """Its first replica is ready."""
    FAILED = "failed"
    """It was to wake, and requests waited in vain or replicas ended. Once for a wake; it may become ready after it."""
    SLEEP = "sleep"
    """It has no replicas any more."""


class _Phase(enum.Enum):
    UNKNOWN, ASLEEP, WAKING, AWAKE = range(4)


Told = tuple[Kind, dict[str, object]]
"""What happened, and its details."""


class Lifecycle:
    """Of one application. What is seen first tells nothing: it happened before."""

    __slots__ = ("_failed", "_phase", "_since")

    def __init__(self) -> None:
        self._phase = _Phase.UNKNOWN
        self._since = 0.0
        self._failed = False

    def see(self, now: float, *, active: bool, ready: bool, present: bool, failure: str = "") -> Iterator[Told]:
        """`active`: it is to have replicas; `present`: it has some, `ready`: and one is ready; `failure`: why it has failed to
        wake. `now` is in seconds."""
        if self._phase is _Phase.UNKNOWN:
            self._begin(now, active=active or present, ready=ready)
            return
        if self._phase is _Phase.ASLEEP and (active or ready):
            self._phase, self._since, self._failed = _Phase.WAKING, now, False
            yield Kind.WAKE, {}
        if self._phase is _Phase.WAKING and ready:
            self._phase = _Phase.AWAKE
            yield Kind.READY, {"seconds": round(now - self._since, 3)}
        if self._phase is _Phase.WAKING and failure and not self._failed:
            self._failed = True
            yield Kind.FAILED, {"reason": failure, "seconds": round(now - self._since, 3)}
        if self._phase is not _Phase.ASLEEP and not (active or ready or present):
            if self._phase is _Phase.WAKING and not self._failed:
                yield Kind.FAILED, {"reason": "it sleeps again before it was ready", "seconds": round(now - self._since, 3)}
            self._phase = _Phase.ASLEEP
            yield Kind.SLEEP, {}

    def _begin(self, now: float, *, active: bool, ready: bool) -> None:
        self._since = now
        self._phase = _Phase.AWAKE if ready else _Phase.WAKING if active else _Phase.ASLEEP
