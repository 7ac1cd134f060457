"""A loop of callbacks for processes that load a proxy: as cheap as it can be made, and it gives way to everybody.

A generator on another machine would not slow down what is measured.
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
    """Run only when nobody else wants to."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class IdleLoop:
    """Calls what is registered with its selector, as the data of a file, and what is due."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heappush(self._due, (monotonic() + seconds, next(self._order), act))

    def run(self, ready: Callable[[], bool]) -> None:
        """Until standard input ends. Prints "ready" once, as soon as that is so."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        while not ready():
            if not self.turn():
                return
        print("ready", flush=True)  # noqa: T201 -- it is a command
        while self.turn():
            pass

    def turn(self) -> bool:
        """Whether there is another one."""
        for key, _ in self.selector.select(max(0, self._due[0][0] - monotonic()) if self._due else None):
            if key.data is None:
                return False
            key.data()
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            heappop(self._due)[2]()
        return True
