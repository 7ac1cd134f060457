"""Time limits without a timer per request: watched objects are in coarse buckets, and are called when their bucket is due.

Moving a limit later costs one assignment to `deadline`; only an earlier limit moves the object to another bucket. Pure: the time
is an argument.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Protocol

__all__ = ["FLUSH_SECONDS", "HORIZON", "NEVER", "Deadlines", "Watched"]

NEVER: Final = math.inf
HORIZON: Final = 5.0
"""Seconds within which every watched object is checked. A limit at least this far away needs no call of `watch`."""

FLUSH_SECONDS: Final = 30.0
"""Time for a backend to accept the last data that was written to it."""


class Watched(Protocol):
    """An object with a time limit."""

    deadline: float
    """When the limit passes, in the clock's seconds; NEVER without a limit."""
    bucket: int
    """The bucket that contains the object; 0 when it is not watched. Owned by Deadlines."""

    def on_deadline(self, now: float) -> None:
        """`deadline` has passed."""


class Deadlines:
    """Buckets of `tick` seconds, starting at `now`."""

    def __init__(self, tick: float, *, now: float) -> None:
        self.tick = tick
        self._buckets: dict[int, set[Watched]] = {}
        self._due: deque[int] = deque()
        """Buckets that are due, the oldest first."""
        self._swept = int(now / tick)
        self._horizon = int(HORIZON / tick)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def watch(self, thing: Watched) -> None:
        """Call `on_deadline` after the object's deadline has passed. Must be called after setting the first or an earlier
        deadline."""
        if thing.deadline == NEVER:
            return
        bucket = min(max(int(thing.deadline / self.tick), self._swept) + 1, self._swept + self._horizon)
        if thing.bucket:
            if thing.bucket <= bucket:
                return
            self.forget(thing)
        thing.bucket = bucket
        self._buckets.setdefault(bucket, set()).add(thing)

    def forget(self, thing: Watched) -> None:
        """Stop watching. Has no effect on an object that is not watched."""
        if thing.bucket:
            things = self._buckets.get(thing.bucket)
            if things is not None:
                things.discard(thing)
                if not things:
                    del self._buckets[thing.bucket]
            thing.bucket = 0

    def sweep(self, now: float, *, most: float = math.inf) -> bool:
        """Call the objects whose limit has passed by `now`, at most `most` of them. Returns False when some are left for the
        next call."""
        reached = int(now / self.tick)
        if reached > self._swept:
            span = range(self._swept + 1, reached + 1)
            self._due.extend(span if len(span) <= len(self._buckets) else sorted(at for at in self._buckets if at in span))
            self._swept = reached
        while self._due:
            things = self._buckets.get(self._due[0])
            while things:
                if most <= 0:
                    return False
                thing = things.pop()
                thing.bucket = 0
                if thing.deadline <= now:
                    most -= 1
                    thing.on_deadline(now)
                if not thing.bucket:
                    self.watch(thing)
            self._buckets.pop(self._due.popleft(), None)
        return True
