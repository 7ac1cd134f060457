"""A callback loop for processes that load a proxy: as cheap as possible, and with the lowest CPU priority.

So the load generator disturbs the measured process as little as if it ran on another machine.
"""

from __future__ import annotations

import os
import selectors
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import monotonic

__all__ = ["IdleLoop", "give_way"]


def give_way() -> None:
    """Give this process the lowest CPU priority."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class IdleLoop:
    """Calls the callbacks registered with its selector (the data of a file), and timers that are due."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heappush(self._due, (monotonic() + seconds, next(self._order), act))

    def run(self, ready: Callable[[], bool]) -> None:
        """Run until standard input ends. Prints "ready" once, as soon as `ready` returns True.

        Only from then on with the lowest priority: where other processes keep every CPU busy, it would not get ready.
        """
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        while not ready():
            if not self.turn():
                return
        give_way()
        print("ready", flush=True)  # noqa: T201 -- it is a command
        while self.turn():
            pass

    def turn(self) -> bool:
        """Run one turn. Returns False when standard input has ended."""
        for key, _ in self.selector.select(max(0, self._due[0][0] - monotonic()) if self._due else None):
            if key.data is None:
                return False
            key.data()
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            heappop(self._due)[2]()
        return True
